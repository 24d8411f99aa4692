// An answer of a chat.

import { imageFailure } from '../lib/images';
import { Streamed } from '../lib/streamed.svelte';
import type { ChatEvent, ChatReply } from '../lib/types';
import type { ChatBody } from './request';

export interface Totals {
  promptTokens: number;
  tokens: number;
  /** Tokens per second, or null if the answer was not generated for this request. */
  tokensPerSecond: number | null;
  /** Whether it reached the maximum number of tokens. */
  cutOff: boolean;
}

export class Answer extends Streamed<ChatEvent, ChatReply> {
  readonly totals = $derived(this.last && totalsOf(this.last));
  readonly source = $derived(sourceOf(this.headers));

  constructor(readonly model: string) {
    super('/inference/chat', ({ message }) => ({ text: message.content, thinking: message.thinking }), imageFailure);
  }

  ask(body: ChatBody, fresh: boolean): Promise<void> {
    return this.run(body, fresh ? { 'cache-control': 'no-cache' } : {});
  }
}

/** Whether the server had the answer, or made it for an identical request at the same time. */
function sourceOf(headers: Headers | null): 'model' | 'cache' | 'shared' {
  const status = headers?.get('cache-status') ?? '';
  if (/;\s*hit\b/.test(status)) return 'cache';
  return /;\s*collapsed\b/.test(status) ? 'shared' : 'model';
}

function totalsOf(reply: ChatReply): Totals {
  return {
    promptTokens: reply.prompt_eval_count,
    tokens: reply.eval_count,
    tokensPerSecond: reply.eval_duration ? reply.eval_count / (reply.eval_duration / 1e9) : null,
    cutOff: reply.done_reason === 'length',
  };
}

// An answer as it arrives. Its text grows once per frame at most, so that long ones stay smooth.

import { ApiError, events, isAbort, messageOf, send } from '../lib/api';
import type { components } from '../lib/schema';
import type { ChatBody } from './request';

type Schemas = components['schemas'];
type Event = Schemas['ChatReplyEvent'] & Partial<Schemas['ChatReply']>;

export type State = 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';

export interface Totals {
  promptTokens: number;
  tokens: number;
  /** Null if the answer was not generated for this request. */
  tokensPerSecond: number | null;
  /** Whether it ended since it had as many tokens as it may. */
  cutOff: boolean;
}

export class Answer {
  text = $state('');
  thinking = $state('');
  state = $state<State>('waiting');
  error = $state<string>();
  /** Seconds from the request to the first token. */
  firstToken = $state<number>();
  /** Seconds of thinking before the answer. */
  thought = $state<number>();
  totals = $state.raw<Totals>();
  /** Whether the server had the answer, or made it for an identical request at the same time. */
  source = $state<'model' | 'cache' | 'shared'>('model');
  readonly asked = performance.now();
  #abort = new AbortController();
  #arrived = { text: '', thinking: '' };
  #frame = 0;

  constructor(readonly model: string) {}

  get busy(): boolean {
    return this.state === 'waiting' || this.state === 'streaming';
  }

  stop() {
    this.#abort.abort();
  }

  /** Asks for the answer, until it is there or there will be none. */
  async run(body: ChatBody, fresh: boolean) {
    try {
      const response = await send('/inference/chat', {
        body: { ...body, stream: true },
        headers: { accept: 'text/event-stream', ...(fresh && { 'cache-control': 'no-cache' }) },
        signal: this.#abort.signal,
      });
      this.source = sourceOf(response);
      for await (const event of events<Event>(response)) {
        this.#grow(event);
        if (event.done) return this.#end('done', totalsOf(event));
      }
      throw new ApiError('The answer broke off.', 0);
    } catch (error) {
      if (isAbort(error) || this.#abort.signal.aborted) return this.#end('stopped');
      this.error = messageOf(error);
      this.#end('failed');
    }
  }

  #grow({ message: { content, thinking } }: Event) {
    if (!content && !thinking) return;
    const now = (performance.now() - this.asked) / 1000;
    this.firstToken ??= now;
    this.state = 'streaming';
    this.#arrived.text += content;
    this.#arrived.thinking += thinking ?? '';
    if (content && this.#arrived.thinking) this.thought ??= now - this.firstToken;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.text = this.#arrived.text;
    this.thinking = this.#arrived.thinking;
  }

  #end(state: State, totals?: Totals) {
    this.#show();
    this.totals = totals;
    this.state = state;
  }
}

function sourceOf(response: Response): Answer['source'] {
  const status = response.headers.get('cache-status') ?? '';
  if (/;\s*hit\b/.test(status)) return 'cache';
  return /;\s*collapsed\b/.test(status) ? 'shared' : 'model';
}

function totalsOf(event: Event): Totals {
  const tokens = event.eval_count ?? 0;
  return {
    promptTokens: event.prompt_eval_count ?? 0,
    tokens,
    tokensPerSecond: event.eval_duration ? tokens / (event.eval_duration / 1e9) : null,
    cutOff: event.done_reason === 'length',
  };
}

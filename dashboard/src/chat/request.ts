// The request for an answer, as the API takes it.

import { base64Of } from '../lib/images';
import type { Turn } from './chat.svelte';

/** Parameters of the request. Empty ones are left to the model. */
export interface Parameters {
  temperature?: number | null;
  top_p?: number | null;
  max_tokens?: number | null;
  seed?: number | null;
}

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
  /** Images in base64. */
  images?: string[];
}

export interface ChatBody extends Parameters {
  model: string;
  messages: Message[];
}

/** Asks for the answer to the last of the turns, in one of the columns. */
export function bodyOf(model: string, turns: readonly Turn[], column: number, system: string, parameters: Parameters): ChatBody {
  const messages: Message[] = system.trim() === '' ? [] : [{ role: 'system', content: system }];
  const last = turns.at(-1);
  for (const turn of turns) {
    const answer = turn.answers[Math.min(column, turn.answers.length - 1)];
    // A question without an answer would stand beside the next one, which not all models understand.
    if (turn !== last && !answer?.text) continue;
    messages.push(question(turn));
    if (turn !== last) messages.push({ role: 'assistant', content: answer!.text });
  }
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return { model, messages, ...Object.fromEntries(given) };
}

function question({ text, images }: Turn): Message {
  const message: Message = { role: 'user', content: text };
  return images.length === 0 ? message : { ...message, images: images.map(base64Of) };
}

// A reply of a model that arrives piece by piece. It is shown once per frame at most, so that long replies stay smooth.

import { ApiError, events, messageOf, send } from './api';

export type State = 'idle' | 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';

export interface Piece {
  text: string;
  /** Reasoning before the answer. */
  thinking?: string | null;
}

export class Streamed<Event extends { done: boolean }, Last extends Event = Event> {
  state = $state<State>('idle');
  text = $state('');
  thinking = $state('');
  error = $state<string | null>(null);
  /** The event that ended the reply. */
  last = $state.raw<Last | null>(null);
  headers = $state.raw<Headers | null>(null);
  /** Seconds from the request to the first token. */
  firstToken = $state<number>();
  /** Seconds of thinking before the answer. */
  thought = $state<number>();
  /** Time of the request, by the clock of `performance`. */
  requestedAt = 0;
  #abort = new AbortController();
  #arrived = { text: '', thinking: '' };
  #frame = 0;

  constructor(
    readonly path: string,
    readonly piece: (event: Event) => Piece,
    readonly failure: (error: unknown) => string = messageOf,
  ) {}

  get running(): boolean {
    return this.state === 'waiting' || this.state === 'streaming';
  }

  /** Sends a request, and receives its reply until the end. An earlier reply is stopped and forgotten. */
  async run(body: object, headers?: Record<string, string>) {
    this.stop();
    const abort = (this.#abort = new AbortController());
    this.#clear();
    try {
      const response = await send(this.path, {
        body: { ...body, stream: true },
        headers: { accept: 'text/event-stream', ...headers },
        signal: abort.signal,
      });
      abort.signal.throwIfAborted();
      this.headers = response.headers;
      for await (const event of events<Event>(response)) {
        // Events that arrived together with the latest one outlast a stop.
        abort.signal.throwIfAborted();
        this.#receive(event);
        if (!event.done) continue;
        this.last = event as Last;
        return this.#end('done');
      }
      throw new ApiError('The answer broke off.', 0);
    } catch (error) {
      if (this.#abort !== abort) return;
      if (!abort.signal.aborted) this.error = this.failure(error);
      this.#end(abort.signal.aborted ? 'stopped' : 'failed');
    }
  }

  stop() {
    this.#abort.abort();
  }

  #clear() {
    this.#arrived = { text: '', thinking: '' };
    this.#show();
    this.error = this.last = this.headers = null;
    this.firstToken = this.thought = undefined;
    this.requestedAt = performance.now();
    this.state = 'waiting';
  }

  #receive(event: Event) {
    const { text, thinking } = this.piece(event);
    if (!text && !thinking) return;
    const now = (performance.now() - this.requestedAt) / 1000;
    this.firstToken ??= now;
    this.state = 'streaming';
    this.#arrived.text += text;
    this.#arrived.thinking += thinking ?? '';
    if (text && this.#arrived.thinking) this.thought ??= now - this.firstToken;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.text = this.#arrived.text;
    this.thinking = this.#arrived.thinking;
  }

  #end(state: State) {
    this.#show();
    this.state = state;
  }
}

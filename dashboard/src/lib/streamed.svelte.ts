// A reply of a model that arrives piece by piece.

import { ApiError, events, isAbort, messageOf, send } from './api';

export class Streamed<Event extends { done: boolean }, Last extends Event = Event> {
  text = $state('');
  /** The event that ended the reply. */
  last = $state.raw<Last | null>(null);
  error = $state<string | null>(null);
  running = $state(false);
  /** Whether the latest reply was stopped before its end. */
  stopped = $state(false);
  #abort: AbortController | null = null;

  constructor(
    readonly path: string,
    readonly piece: (event: Event) => string,
    readonly failure: (error: unknown) => string = messageOf,
  ) {}

  async run(body: object) {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.text = '';
    this.last = null;
    this.error = null;
    this.stopped = false;
    this.running = true;
    try {
      const response = await send(this.path, { body: { ...body, stream: true }, signal: abort.signal });
      for await (const event of events<Event>(response)) {
        this.text += this.piece(event);
        if (event.done) this.last = event as Last;
      }
      if (this.last === null) throw new ApiError('The reply broke off.', 0);
    } catch (error) {
      if (!isAbort(error) && this.#abort === abort) this.error = this.failure(error);
    } finally {
      if (this.#abort === abort) this.running = false;
    }
  }

  stop() {
    this.stopped = this.running;
    this.#abort?.abort();
  }
}

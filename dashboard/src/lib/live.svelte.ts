// Live statistics of /analytics/live, for as long as somebody is signed in. A lost connection is made again.

import { ApiError, events, isAbort, send } from './api';
import type { LiveEvent } from './types';

export type LiveState = 'connecting' | 'live' | 'lost';

/** Seconds of live figures that are kept. */
const KEPT = 90;
const LONGEST_WAIT = 10;

class Live {
  state = $state<LiveState>('connecting');
  event = $state.raw<LiveEvent | null>(null);
  /** The last events, oldest first. */
  recent = $state.raw<LiveEvent[]>([]);
  /** Seconds until the next attempt. */
  retryIn = $state(0);
  /** Grows each time that the connection is back: what is shown is read again. */
  generation = $state(0);
  #abort: AbortController | null = null;

  start() {
    if (this.#abort) return;
    this.#abort = new AbortController();
    void this.#run(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.state = 'connecting';
    this.event = null;
    this.recent = [];
  }

  async #run(signal: AbortSignal) {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const response = await send('/analytics/live', { signal, headers: { accept: 'text/event-stream' } });
        for await (const event of events<LiveEvent>(response)) {
          if (this.state === 'lost') this.generation++;
          this.state = 'live';
          attempt = 0;
          this.event = event;
          this.recent = [...this.recent.slice(1 - KEPT), event];
        }
      } catch (error) {
        if (isAbort(error) || signal.aborted) return;
        if (error instanceof ApiError && error.status === 401) return;
      }
      this.state = 'lost';
      this.event = null;
      await this.#wait(Math.min(2 ** attempt, LONGEST_WAIT), signal);
    }
  }

  async #wait(seconds: number, signal: AbortSignal) {
    for (this.retryIn = seconds; this.retryIn > 0 && !signal.aborted; this.retryIn--)
      await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

export const live = new Live();

// Live statistics of /analytics/live, while a session is open and the tab is visible. Reconnects when the connection is
// lost.

import { ApiError, events, messageOf, send } from './api';
import { session } from './session.svelte';
import type { LiveEvent } from './types';

/** `refused` if the server answers, but with an error. */
export type LiveState = 'connecting' | 'live' | 'lost' | 'refused';

/** Maximum number of events to keep, one per second. */
export const HISTORY_LIMIT = 90;
const RETRY_DELAY_MAX_S = 10;
/** Time without an event after which the connection counts as lost. The server sends one each second. */
const IDLE_TIMEOUT_MS = 10_000;
/** Shortest time between two events that is a gap, which clears the history. */
const GAP_MIN_MS = 5_000;

class Live {
  state = $state<LiveState>('connecting');
  event = $state.raw<LiveEvent | null>(null);
  /** The last events, oldest first. */
  recent = $state.raw<LiveEvent[]>([]);
  /** Reason of the server's refusal. */
  error = $state<string | null>(null);
  /** Seconds until the next attempt. */
  retryIn = $state(0);
  /** Incremented each time the connection is back, so that what is shown is read again. */
  generation = $state(0);
  #attempt = 0;
  #wasLost = false;
  #abort: AbortController | null = null;

  constructor() {
    session.onEnd(() => {
      this.stop();
      this.event = null;
      this.recent = [];
    });
  }

  start() {
    if (this.#abort) return;
    this.#abort = new AbortController();
    void this.#run(this.#abort.signal);
  }

  /** Closes the connection. The figures stay until others arrive. */
  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.state = 'connecting';
    this.retryIn = 0;
  }

  async #run(signal: AbortSignal) {
    for (this.#attempt = 0; !signal.aborted; this.#attempt++) {
      const error = await this.#receive(signal).catch((error: unknown) => error);
      if (signal.aborted) return;
      const refused = error instanceof ApiError && error.status > 0;
      if (refused && error.status === 401) return;
      this.#wasLost = true;
      this.state = refused ? 'refused' : 'lost';
      this.error = refused ? messageOf(error) : null;
      if (refused) this.event = null;
      await this.#wait(Math.min(2 ** this.#attempt, RETRY_DELAY_MAX_S), signal);
    }
  }

  /** Receives events until the connection ends or is idle for too long. */
  async #receive(signal: AbortSignal) {
    const connection = new AbortController();
    const abort = () => connection.abort();
    let timer = setTimeout(abort, IDLE_TIMEOUT_MS);
    signal.addEventListener('abort', abort);
    try {
      const response = await send('/analytics/live', {
        signal: connection.signal,
        headers: { accept: 'text/event-stream' },
      });
      for await (const event of events<LiveEvent>(response)) {
        clearTimeout(timer);
        timer = setTimeout(abort, IDLE_TIMEOUT_MS);
        this.#attempt = 0;
        this.#show(event);
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  #show(event: LiveEvent) {
    if (this.#wasLost) this.generation++;
    this.#wasLost = false;
    const last = this.recent.at(-1);
    const follows = last !== undefined && Date.parse(event.timestamp) - Date.parse(last.timestamp) < GAP_MIN_MS;
    this.state = 'live';
    this.event = event;
    this.recent = follows ? [...this.recent.slice(1 - HISTORY_LIMIT), event] : [event];
  }

  async #wait(seconds: number, signal: AbortSignal) {
    for (let left = seconds; left > 0 && !signal.aborted; left--) {
      this.retryIn = left;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (!signal.aborted) this.retryIn = 0;
  }
}

export const live = new Live();

// A value read from the server, or the reason that it could not be. It is read again at intervals, when the connection
// is back, and on demand.

import { isAbort, messageOf } from './api';
import { live } from './live.svelte';

export interface Resource<T> {
  readonly value: T | undefined;
  readonly error: string | undefined;
  /** Whether the first answer is not there yet. */
  readonly loading: boolean;
  reload(): Promise<void>;
}

/**
 * Runs `read` now, whenever what it depends on changes, and every `seconds` while the page can be seen. Belongs in a
 * component's initialization.
 */
export function resource<T>(read: (signal: AbortSignal) => Promise<T>, seconds?: () => number): Resource<T> {
  let value = $state.raw<T>();
  let error = $state<string>();
  let turn = 0;
  let running = 0;

  async function run(signal: AbortSignal) {
    const mine = ++turn;
    running++;
    try {
      const answer = await read(signal);
      if (mine !== turn) return;
      value = answer;
      error = undefined;
    } catch (reason) {
      if (isAbort(reason) || mine !== turn) return;
      error = messageOf(reason);
    } finally {
      running--;
    }
  }

  $effect(() => {
    void live.generation;
    const abort = new AbortController();
    void run(abort.signal);
    const every = seconds?.();
    const timer =
      every === undefined
        ? undefined
        : setInterval(() => {
            // A run that takes longer than the interval must not be discarded by the next one.
            if (running === 0 && !document.hidden && live.state !== 'lost') void run(abort.signal);
          }, every * 1000);
    return () => {
      clearInterval(timer);
      abort.abort();
    };
  });

  return {
    get value() {
      return value;
    },
    get error() {
      return error;
    },
    get loading() {
      return value === undefined && error === undefined;
    },
    reload: () => run(new AbortController().signal),
  };
}

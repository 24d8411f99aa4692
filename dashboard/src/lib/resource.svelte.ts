// Something read from the server: its value, or why there is none. Read again at intervals, when the connection is
// back, and on demand.

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

  async function run(signal: AbortSignal) {
    const mine = ++turn;
    try {
      const answer = await read(signal);
      if (mine !== turn) return;
      value = answer;
      error = undefined;
    } catch (reason) {
      if (isAbort(reason) || mine !== turn) return;
      error = messageOf(reason);
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
            if (!document.hidden && live.state !== 'lost') void run(abort.signal);
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

// A request that a component makes on demand, one at a time. It ends with the component.

import { onDestroy } from 'svelte';
import { messageOf } from './api';

export class Task<T> {
  running = $state(false);
  /** Result of the latest run that succeeded. */
  value = $state.raw<T | null>(null);
  /** Seconds that the value took. */
  seconds = $state(0);
  error = $state<string | null>(null);
  #abort = new AbortController();

  /** Belongs in a component's initialization. */
  constructor(readonly failure: (error: unknown) => string = messageOf) {
    onDestroy(() => this.stop());
  }

  /** Runs `work` instead of what runs already. */
  async run(work: (signal: AbortSignal) => Promise<T>) {
    this.stop();
    const abort = (this.#abort = new AbortController());
    const begun = performance.now();
    this.running = true;
    this.error = null;
    try {
      const value = await work(abort.signal);
      if (abort.signal.aborted) return;
      this.value = value;
      this.seconds = (performance.now() - begun) / 1000;
    } catch (error) {
      if (!abort.signal.aborted) this.error = this.failure(error);
    } finally {
      if (this.#abort === abort) this.running = false;
    }
  }

  stop() {
    this.#abort.abort();
  }
}

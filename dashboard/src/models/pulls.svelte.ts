// Downloads of models. They go on while other pages are open.

import { api, events, isAbort, messageOf, send } from '../lib/api';
import { session } from '../lib/session.svelte';
import type { PullEvent } from '../lib/types';

export interface Pull {
  model: string;
  status: string;
  completed: number;
  total: number;
  /** Bytes per second of the last seconds. */
  speed: number;
  error: string | null;
  done: boolean;
}

/** Maximum number of downloads at a time, since browsers limit the connections to a server. */
const CONCURRENCY_LIMIT = 2;

class Pulls {
  all = $state<Pull[]>([]);
  /** Number of models that have arrived. */
  arrived = $state(0);
  #aborts = new Map<string, AbortController>();

  constructor() {
    session.onEnd(() => {
      this.all = [];
      this.#aborts.forEach((abort) => abort.abort());
    });
  }

  start(model: string) {
    if (this.all.some((pull) => pull.model === model && !pull.done && pull.error === null)) return;
    this.all = [
      { model, status: 'waiting', completed: 0, total: 0, speed: 0, error: null, done: false },
      ...this.all.filter((pull) => pull.model !== model),
    ];
    this.#runNext();
  }

  /** Stops a download. What has arrived is kept, so that it can go on later. */
  stop(model: string) {
    this.#aborts.get(model)?.abort();
    this.dismiss(model);
  }

  dismiss(model: string) {
    this.all = this.all.filter((pull) => pull.model !== model);
  }

  /** Begins the oldest downloads that wait. */
  #runNext() {
    while (this.#aborts.size < CONCURRENCY_LIMIT) {
      const next = this.all.findLast((pull) => !pull.done && pull.error === null && !this.#aborts.has(pull.model));
      if (!next) return;
      void this.#run(next);
    }
  }

  async #run(pull: Pull) {
    const abort = new AbortController();
    this.#aborts.set(pull.model, abort);
    const parts = new Map<string, { completed: number; total: number; resumed: number }>();
    const sum = (part: 'completed' | 'total' | 'resumed') =>
      [...parts.values()].reduce((sum, figures) => sum + figures[part], 0);
    let since = { time: performance.now(), bytes: 0 };
    try {
      pull.status = 'starting';
      const response = await send('/models/pull', { body: { model: pull.model }, signal: abort.signal });
      for await (const event of events<PullEvent>(response)) {
        pull.status = event.status;
        const { digest, completed, total, resumed } = event;
        if (digest && total) parts.set(digest, { completed: completed ?? 0, total, resumed: resumed ?? 0 });
        pull.completed = sum('completed');
        pull.total = sum('total');
        const now = performance.now();
        if (now - since.time > 1000) {
          const bytes = pull.completed - sum('resumed');
          pull.speed = ((bytes - since.bytes) / (now - since.time)) * 1000;
          since = { time: now, bytes };
        }
      }
      if (pull.status !== 'success') throw new Error('The download broke off.');
      pull.done = true;
      this.arrived++;
    } catch (error) {
      if (!isAbort(error)) pull.error = messageOf(error);
    } finally {
      this.#aborts.delete(pull.model);
      this.#runNext();
    }
  }
}

export const pulls = new Pulls();

export async function load(name: string): Promise<void> {
  await api(`/models/${encodeURIComponent(name)}/load`, { body: {} });
}

export async function unload(name: string): Promise<void> {
  await api(`/models/${encodeURIComponent(name)}/unload`, { method: 'POST' });
}

export async function remove(name: string): Promise<void> {
  await api(`/models/${encodeURIComponent(name)}`, { method: 'DELETE' });
}

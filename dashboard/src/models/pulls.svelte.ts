// Downloads of models. They go on while other pages are open.

import { api, events, isAbort, messageOf, send } from '../lib/api';
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

class Pulls {
  all = $state<Pull[]>([]);
  /** Grows with each model that has arrived. */
  arrived = $state(0);
  #aborts = new Map<string, AbortController>();

  get active(): boolean {
    return this.all.some((pull) => !pull.done && pull.error === null);
  }

  start(model: string) {
    if (this.all.some((pull) => pull.model === model && !pull.done && pull.error === null)) return;
    this.all = [
      { model, status: 'starting', completed: 0, total: 0, speed: 0, error: null, done: false },
      ...this.all.filter((pull) => pull.model !== model),
    ];
    void this.#run(this.all[0]!);
  }

  /** Stops a download. What has arrived is kept, so that it can go on later. */
  stop(model: string) {
    this.#aborts.get(model)?.abort();
    this.dismiss(model);
  }

  dismiss(model: string) {
    this.all = this.all.filter((pull) => pull.model !== model);
  }

  async #run(pull: Pull) {
    const abort = new AbortController();
    this.#aborts.set(pull.model, abort);
    const parts = new Map<string, { completed: number; total: number }>();
    let since = { time: performance.now(), bytes: 0 };
    try {
      const response = await send('/models/pull', { body: { model: pull.model }, signal: abort.signal });
      for await (const event of events<PullEvent>(response)) {
        pull.status = event.status;
        if (event.digest && event.total)
          parts.set(event.digest, { completed: event.completed ?? 0, total: event.total });
        pull.completed = [...parts.values()].reduce((sum, part) => sum + part.completed, 0);
        pull.total = [...parts.values()].reduce((sum, part) => sum + part.total, 0);
        const now = performance.now();
        if (now - since.time > 1000) {
          pull.speed = ((pull.completed - since.bytes) / (now - since.time)) * 1000;
          since = { time: now, bytes: pull.completed };
        }
      }
      if (pull.status !== 'success') throw new Error('The download broke off.');
      pull.done = true;
      this.arrived++;
    } catch (error) {
      if (!isAbort(error)) pull.error = messageOf(error);
    } finally {
      this.#aborts.delete(pull.model);
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

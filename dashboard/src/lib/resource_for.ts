// A resource for a choice of its page, such as a period.

import { resource, type Resource } from './resource.svelte';

/** A resource without the value that was read for another choice. Belongs in a component's initialization. */
export function resourceFor<T>(
  choice: () => string | number | boolean,
  read: (signal: AbortSignal) => Promise<T>,
  seconds?: () => number,
): Resource<T> {
  const latest = resource(async (signal) => {
    const madeFor = choice();
    return { madeFor, value: await read(signal) };
  }, seconds);
  return {
    get value() {
      return latest.value?.madeFor === choice() ? latest.value.value : undefined;
    },
    get error() {
      return latest.error;
    },
    get loading() {
      return this.value === undefined && this.error === undefined;
    },
    reload: latest.reload,
  };
}

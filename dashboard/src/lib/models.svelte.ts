// Installed models by capability.

import { pulls } from '../models/pulls.svelte';
import { api } from './api';
import { resource, type Resource } from './resource.svelte';
import type { Model } from './types';

/** Models with a capability, the ones in memory first. Belongs in a component's initialization. */
export function modelsWith(capability: Model['capabilities'][number]): Resource<Model[]> {
  return resource(async (signal) => {
    void pulls.arrived;
    const { models } = await api<{ models: Model[] }>('/models', { signal });
    return models
      .filter((model) => model.capabilities.includes(capability))
      .sort((a, b) => Number(b.loaded) - Number(a.loaded));
  });
}

// Names of the capabilities of models.

import type { Model } from '../lib/types';

export const CAPABILITIES: Record<Model['capabilities'][number], string> = {
  completion: 'Text',
  vision: 'Vision',
  embedding: 'Embeddings',
  tools: 'Tools',
  thinking: 'Thinking',
};

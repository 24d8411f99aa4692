// The API's shapes, as docs/openapi.json describes them.

import type { components, operations } from './schema';

type Schemas = components['schemas'];

export type Alert = Schemas['AlertReply'];
export type CacheStatistics = Schemas['CacheReply'];
export type Chunk = Schemas['HitBody'];
export type Collection = Schemas['CollectionBody'];
export type DetailedModel = Schemas['DetailedModelReply'];
export type Document = Schemas['DocumentBody'];
export type ErrorRecord = Schemas['ErrorBody'];
export type Health = Schemas['HealthReply'];
export type LiveEvent = Schemas['LiveEvent'];
export type LoadedModel = Schemas['LoadedModelReply'];
export type Model = Schemas['ModelReply'];
export type PullEvent = Schemas['PullEvent'];
export type Series = Schemas['SeriesReply'];
export type Setting = Schemas['SettingReply'];
export type Source = Schemas['SourceBody'];
export type Statistics = Schemas['StatsReply'];
export type SuggestedModels = Schemas['SuggestedReply'];
export type Usage = Schemas['UsageBody'];

/** Type of cache entries, by which they can be cleared. */
export type CacheType = NonNullable<NonNullable<operations['delete_analytics_cache']['parameters']['query']>['prefix']>;

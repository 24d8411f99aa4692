// The API's shapes, as docs/openapi.json describes them.

import type { components, operations } from './schema';

type Schemas = components['schemas'];

export type Alert = Schemas['AlertReply'];
export type CacheStatistics = Schemas['CacheReply'];
export type ChatEvent = Schemas['ChatReplyEvent'];
export type ChatReply = Schemas['ChatReply'];
export type Chunk = Schemas['HitBody'];
export type Collection = Schemas['CollectionBody'];
export type DetailedModel = Schemas['DetailedModelReply'];
export type Document = Schemas['DocumentBody'];
export type EmbedReply = Schemas['EmbedReplyBody'];
export type ErrorRecord = Schemas['ErrorBody'];
export type GenerateEvent = Schemas['GenerateEvent'];
export type GenerateReply = Schemas['GenerateReply'];
export type Health = Schemas['HealthReply'];
export type IngestEvent = Schemas['IngestEvent'];
export type IngestReply = Schemas['IngestReply'];
export type LiveEvent = Schemas['LiveEvent'];
export type LoadedModel = Schemas['LoadedModelReply'];
export type Model = Schemas['ModelReply'];
export type PullEvent = Schemas['PullEvent'];
export type QueryEvent = Schemas['QueryEvent'];
export type QueryReply = Schemas['QueryReply'];
export type SearchMode = Schemas['ModeBody'];
export type Series = Schemas['SeriesReply'];
export type Setting = Schemas['SettingReply'];
export type Source = Schemas['SourceBody'];
export type Statistics = Schemas['StatsReply'];
export type SuggestedModels = Schemas['SuggestedReply'];
export type Usage = Schemas['UsageBody'];

/** Type of cache entries, by which they can be cleared. */
export type CacheType = NonNullable<NonNullable<operations['delete_analytics_cache']['parameters']['query']>['prefix']>;

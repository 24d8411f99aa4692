// Time series of /analytics/series.

import { api } from './api';
import type { Series } from './types';

export type Metric = Series['metric'];

export interface Table {
  /** Unix seconds. */
  times: number[];
  /** Minutes of a step. */
  step: number;
  values: Record<string, (number | null)[]>;
}

/** Several metrics over one period, each value at the same place in time. */
export async function table(metrics: readonly Metric[], minutes: number, signal: AbortSignal): Promise<Table> {
  const replies = await Promise.all(
    metrics.map((metric) => api<Series>('/analytics/series', { query: { metric, since_minutes: minutes }, signal })),
  );
  const times = [...new Set(replies.flatMap((reply) => reply.points.map((point) => Date.parse(point.timestamp) / 1000)))];
  times.sort((one, other) => one - other);
  const values: Table['values'] = {};
  for (const reply of replies) {
    const at = new Map(reply.points.map((point) => [Date.parse(point.timestamp) / 1000, point.value ?? null]));
    values[reply.metric] = times.map((time) => at.get(time) ?? null);
  }
  return { times, step: replies[0]?.step ?? 1, values };
}

// Time series of /analytics/series. Counts become rates, since the last step is still in progress.

import { api } from './api';
import type { Series } from './types';

export type Metric = Series['metric'];

type Value = number | null;

export interface Table {
  /** Unix seconds. */
  times: number[];
  /** Values of each metric at these times. Counts are per minute. */
  values: Record<string, Value[]>;
}

const COUNTS: readonly Metric[] = [
  'requests',
  'errors',
  'prompt_tokens',
  'completion_tokens',
  'cache_hits',
  'cache_misses',
  'unauthenticated',
];

/** Minimum length of the last step, since a rate over fewer seconds means little. */
const MIN_STEP_MINUTES = 0.5;

type Query = { metric: Metric; since_minutes: number; endpoint?: string };

/** Values by the Unix seconds at which their steps begin. */
async function read(query: Query, signal: AbortSignal): Promise<Map<number, Value>> {
  const series = await api<Series>('/analytics/series', { query, signal });
  const end = Date.parse(series.period.to);
  const values = new Map<number, Value>();
  for (const { timestamp, value = null } of series.points) {
    const start = Date.parse(timestamp);
    const minutes = Math.min((end - start) / 60_000, series.step);
    if (minutes < MIN_STEP_MINUTES) continue;
    const isCount = value !== null && COUNTS.includes(series.metric);
    values.set(start / 1000, isCount ? value / minutes : value);
  }
  return values;
}

/** Requests of an endpoint per minute. */
export async function requestsOf(endpoint: string, minutes: number, signal: AbortSignal): Promise<Value[]> {
  const values = await read({ metric: 'requests', since_minutes: minutes, endpoint }, signal);
  return [...values.values()];
}

/** Several metrics over one period, aligned in time. */
export async function table(metrics: readonly Metric[], minutes: number, signal: AbortSignal): Promise<Table> {
  const series = await Promise.all(metrics.map((metric) => read({ metric, since_minutes: minutes }, signal)));
  const times = [...new Set(series.flatMap((values) => [...values.keys()]))].sort((a, b) => a - b);
  const values = metrics.map((metric, index) => [metric, times.map((time) => series[index]!.get(time) ?? null)]);
  return { times, values: Object.fromEntries(values) };
}

// Time series of /analytics/series.

import { api } from './api';
import type { Series } from './types';

export type Metric = Series['metric'];

export interface Points {
  /** Unix seconds. */
  times: number[];
  /** Minutes of each step: of the last one, which is still in progress, those that have passed. */
  minutes: number[];
  values: (number | null)[];
}

export interface Table extends Omit<Points, 'values'> {
  /** Minutes of a step. */
  step: number;
  values: Record<string, (number | null)[]>;
}

/** Share of the last step that must have passed, since fewer seconds say little. */
const LEAST_SHARE = 0.25;

/** Points of a series. A last step that has just begun is left out. */
export function pointsOf({ points, step, period }: Series): Points {
  const times = points.map((point) => Date.parse(point.timestamp) / 1000);
  const values = points.map((point) => point.value ?? null);
  const end = Date.parse(period.to) / 1000;
  const minutes = times.map((time) => Math.min(step, (end - time) / 60));
  const count = minutes.filter((passed) => passed >= step * LEAST_SHARE).length;
  return { times: times.slice(0, count), minutes: minutes.slice(0, count), values: values.slice(0, count) };
}

/** Counts of steps as rates per minute. */
export function perMinute(values: (number | null)[] = [], minutes: number[]): (number | null)[] {
  return values.map((value, at) => (value === null ? null : value / minutes[at]!));
}

/** Several metrics over one period, each value at the same place in time. */
export async function table(metrics: readonly Metric[], minutes: number, signal: AbortSignal): Promise<Table> {
  const replies = await Promise.all(
    metrics.map((metric) => api<Series>('/analytics/series', { query: { metric, since_minutes: minutes }, signal })),
  );
  const passed = new Map<number, number>();
  const series = replies.map((reply) => {
    const points = pointsOf(reply);
    points.times.forEach((time, at) => passed.set(time, points.minutes[at]!));
    return { metric: reply.metric, at: new Map(points.times.map((time, at) => [time, points.values[at]!])) };
  });
  const times = [...passed.keys()].sort((one, other) => one - other);
  const values = Object.fromEntries(series.map(({ metric, at }) => [metric, times.map((time) => at.get(time) ?? null)]));
  return { times, minutes: times.map((time) => passed.get(time)!), step: replies[0]?.step ?? 1, values };
}

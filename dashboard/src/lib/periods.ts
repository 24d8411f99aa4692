// Periods that charts can show, and how often each is read again.

export interface Period {
  label: string;
  name: string;
  minutes: number;
  /** Seconds. */
  refresh: number;
}

export const PERIODS: readonly Period[] = [
  { label: '15m', name: 'Last 15 minutes', minutes: 15, refresh: 10 },
  { label: '1h', name: 'Last hour', minutes: 60, refresh: 20 },
  { label: '24h', name: 'Last 24 hours', minutes: 1440, refresh: 60 },
  { label: '7d', name: 'Last 7 days', minutes: 10_080, refresh: 300 },
];

export function periodOf(minutes: number): Period {
  return PERIODS.find((period) => period.minutes === minutes) ?? PERIODS[1]!;
}

// Figures as text. A missing figure is a dash.

export const NONE = '–';

/** The language of the dashboard's texts, also for its numbers and dates. */
export const LOCALE = 'en-US';

const plain = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LOCALE, { notation: 'compact', maximumFractionDigits: 1 });

type Maybe = number | null | undefined;

const none = (value: Maybe): value is null | undefined => value === null || value === undefined || Number.isNaN(value);

export function count(value: Maybe): string {
  if (none(value)) return NONE;
  return Math.abs(value) < 100_000 ? plain.format(value) : compact.format(value);
}

/** A figure with up to three significant digits, unless it is large. */
export function rate(value: Maybe): string {
  if (none(value)) return NONE;
  if (value === 0) return '0';
  return scaled(value, [
    { below: 10, decimals: 2 },
    { below: 100, decimals: 1 },
  ]) ?? count(value);
}

/** A fraction of 1 as percent. */
export function percent(fraction: Maybe): string {
  if (none(fraction)) return NONE;
  const value = fraction * 100;
  return `${Number(value.toFixed(1))} %`;
}

/** Seconds as ms, s, min or h. */
export function seconds(value: Maybe): string {
  if (none(value)) return NONE;
  if (value === 0) return '0 ms';
  return scaled(value, DURATIONS) ?? longDuration(Math.round(value));
}

interface Scale {
  /** Limit of the scale, which also applies to the rounded figure. */
  below: number;
  decimals: number;
  unit?: { name: string; size: number };
}

const MILLISECONDS = { name: 'ms', size: 1e-3 };
const SECONDS = { name: 's', size: 1 };
const DURATIONS: readonly Scale[] = [
  { below: 1, decimals: 2, unit: MILLISECONDS },
  { below: 10, decimals: 1, unit: MILLISECONDS },
  { below: 1000, decimals: 0, unit: MILLISECONDS },
  { below: 10, decimals: 2, unit: SECONDS },
  { below: 100, decimals: 1, unit: SECONDS },
];

/** A figure on the first scale that it fits once it is rounded, without trailing zeros. */
function scaled(value: number, scales: readonly Scale[]): string | undefined {
  for (const { below, decimals, unit } of scales) {
    const figure = Number((value / (unit?.size ?? 1)).toFixed(decimals));
    if (Math.abs(figure) < below) return unit ? `${figure} ${unit.name}` : String(figure);
  }
  return undefined;
}

/** Whole seconds as min and s, min, or h. */
function longDuration(whole: number): string {
  if (whole < 600 && whole % 60 > 0) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return whole < 5400 ? `${Math.round(whole / 60)} min` : `${Number((whole / 3600).toFixed(1))} h`;
}

/** Bytes in decimal units, as disks and downloads are measured. */
export function bytes(value: Maybe): string {
  if (none(value)) return NONE;
  if (value < 1000) return `${value} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let unit = -1;
  do {
    value /= 1000;
    unit++;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

export function dateTime(timestamp: string): string {
  return new Date(timestamp).toLocaleString(LOCALE, {
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
}

/** Time since a moment, in the largest unit that fits. */
export function ago(timestamp: string, now = Date.now()): string {
  const past = Math.max(0, (now - Date.parse(timestamp)) / 1000);
  if (past < 60) return 'just now';
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 86_400) return `${Math.floor(past / 3600)} h ago`;
  return `${Math.floor(past / 86_400)} d ago`;
}

export function plural(amount: number, one: string, many = `${one}s`): string {
  return `${count(amount)} ${amount === 1 ? one : many}`;
}

// Figures as text. A missing figure is a dash.

export const NONE = '–';

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

type Maybe = number | null | undefined;

const none = (value: Maybe): value is null | undefined => value === null || value === undefined || Number.isNaN(value);

export function count(value: Maybe): string {
  if (none(value)) return NONE;
  return Math.abs(value) < 100_000 ? plain.format(value) : compact.format(value);
}

/** With as many decimals as three digits leave. */
export function rate(value: Maybe): string {
  if (none(value)) return NONE;
  if (value === 0) return '0';
  if (Math.abs(value) >= 1000) return count(value);
  return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
}

/** A fraction of 1 as percent. */
export function percent(fraction: Maybe): string {
  if (none(fraction)) return NONE;
  const value = fraction * 100;
  return `${value.toFixed(value === 0 || value === 100 || value >= 99.95 ? 0 : 1)} %`;
}

/** Seconds as µs, ms, s, min or h. */
export function seconds(value: Maybe): string {
  if (none(value)) return NONE;
  if (value === 0) return '0 ms';
  if (value < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 0.01) return `${(value * 1e3).toFixed(1)} ms`;
  if (value < 1) return `${(value * 1e3).toFixed(0)} ms`;
  if (value < 100) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  if (value < 5400) return `${(value / 60).toFixed(0)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

/** In the powers of ten that disks and downloads are sold in. */
export function bytes(value: Maybe): string {
  if (none(value)) return NONE;
  if (value < 1000) return `${value} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let unit = -1;
  do {
    value /= 1000;
    unit++;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function time(timestamp: string): string {
  return new Date(timestamp).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
}

export function dateTime(timestamp: string): string {
  return new Date(timestamp).toLocaleString([], { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/** How long ago, in the largest unit that fits. */
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

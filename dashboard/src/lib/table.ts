// Order and filters of tables.

export interface Sort<K extends string> {
  by: K;
  descending: boolean;
}

/** Rows in a chosen order. Missing figures count as 0. */
export function sorted<K extends string, T extends Partial<Record<K, string | number | null>>>(
  rows: readonly T[],
  { by, descending }: Sort<K>,
): T[] {
  const order = (a: T, b: T) => {
    const [left, right] = [a[by] ?? 0, b[by] ?? 0];
    return typeof left === 'string' ? left.localeCompare(String(right)) : left - Number(right);
  };
  return rows.toSorted((a, b) => (descending ? order(b, a) : order(a, b)));
}

/** Whether a text contains every word of a filter, in any order. */
export function matches(text: string, filter: string): boolean {
  const lower = text.toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => lower.includes(word));
}

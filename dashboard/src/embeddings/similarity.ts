// Similarity of vectors.

/** Cosine similarity: 1 for the same direction, 0 for unrelated ones. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (left: readonly number[], right: readonly number[]) =>
    left.reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0);
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

export function matrix(vectors: readonly number[][]): number[][] {
  return vectors.map((a) => vectors.map((b) => cosine(a, b)));
}

/** Row and column of the greatest similarity between two texts. */
export function closest(similarities: readonly number[][]): [number, number] {
  let best: [number, number] = [0, 1];
  similarities.forEach((values, row) =>
    values.forEach((value, column) => {
      if (column > row && value > similarities[best[0]]![best[1]]!) best = [row, column];
    }),
  );
  return best;
}

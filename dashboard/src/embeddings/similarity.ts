// Similarity of vectors.

/** Cosine similarity: 1 for the same direction, 0 for unrelated ones. */
export function cosine(one: readonly number[], other: readonly number[]): number {
  const dot = (left: readonly number[], right: readonly number[]) =>
    left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
  const lengths = Math.sqrt(dot(one, one) * dot(other, other));
  return lengths === 0 ? 0 : dot(one, other) / lengths;
}

export function matrix(vectors: readonly number[][]): number[][] {
  return vectors.map((one) => vectors.map((other) => cosine(one, other)));
}

/** The two different places with the greatest similarity. */
export function closest(similarities: readonly number[][]): [number, number] {
  let best: [number, number] = [0, 1];
  similarities.forEach((row, one) =>
    row.forEach((value, other) => {
      if (other > one && value > similarities[best[0]]![best[1]]!) best = [one, other];
    }),
  );
  return best;
}

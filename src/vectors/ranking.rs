//! Ranking of hits, the same for every store: cosine, reciprocal rank fusion and maximal marginal relevance.

use std::{cmp::Ordering, collections::HashMap, hash::Hash};

/// Damping of reciprocal rank fusion, as in the paper of Cormack, Clarke and Büttcher.
const FUSION_K: f32 = 60.0;

/// Hits of each ranking that fusion and diversity choose from, at least.
pub const MIN_POOL: usize = 100;

/// Number of hits to choose `top_k` from.
pub fn pool(top_k: usize) -> usize {
    (4 * top_k).max(MIN_POOL)
}

/// Brings a vector to length 1; one without length stays as it is.
pub fn normalize(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

/// Dot product, which for vectors of length 1 is their cosine.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    // Several sums at once, because a single one would have to wait for each addition.
    const LANES: usize = 16;
    let (left, right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (left, right) in left.zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(left).zip(right) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Orders hits: the higher score first, then the lower id.
pub fn best_first<T: Ord>(left: &(T, f32), right: &(T, f32)) -> Ordering {
    right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0))
}

/// Fuses two rankings by the ranks in them. A score is a share of the best possible one.
pub fn fuse<T: Copy + Eq + Hash + Ord>(left: &[(T, f32)], right: &[(T, f32)]) -> Vec<(T, f32)> {
    let mut scores: HashMap<T, f32> = HashMap::new();
    for ranking in [left, right] {
        let mut rank = FUSION_K;
        for (id, _) in ranking {
            rank += 1.0;
            *scores.entry(*id).or_default() += (FUSION_K + 1.0) / rank / 2.0;
        }
    }
    let mut fused: Vec<(T, f32)> = scores.into_iter().collect();
    fused.sort_by(best_first);
    fused
}

/// Chooses `top_k` hits by maximal marginal relevance: each time the one with the best score less its likeness to what
/// is chosen already. Scores stay what they were.
pub fn diversify<T: Copy>(
    mut hits: Vec<(T, f32)>,
    vector: impl Fn(T) -> Option<Vec<f32>>,
    diversity: f32,
    top_k: usize,
) -> Vec<(T, f32)> {
    // Each with its vector, and its greatest likeness to what is chosen.
    let mut left: Vec<_> =
        hits.drain(..).map(|hit| (hit, vector(hit.0).unwrap_or_default(), 0.0_f32)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < top_k && !left.is_empty() {
        let value =
            |(hit, _, likeness): &((T, f32), Vec<f32>, f32)| (1.0 - diversity) * hit.1 - diversity * likeness;
        let mut best = 0;
        for at in 1..left.len() {
            if value(&left[at]) > value(&left[best]) {
                best = at;
            }
        }
        let (hit, vector, _) = left.remove(best);
        for (_, other, likeness) in &mut left {
            *likeness = likeness.max(dot(&vector, other));
        }
        chosen.push(hit);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_product_has_all_its_parts() {
        let numbers: Vec<f32> = (1..=37_u8).map(f32::from).collect();
        assert!((dot(&numbers, &[1.0; 37]) - 703.0).abs() < 1e-3);
        let mut vector = vec![3.0, 4.0];
        normalize(&mut vector);
        assert!((vector[0] - 0.6).abs() < 1e-6);
        let mut zero = vec![0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }

    #[test]
    fn first_in_both_rankings_is_one() {
        let fused = fuse(&[(7, 0.9), (8, 0.8)], &[(7, 0.5), (9, 0.2)]);
        assert_eq!(fused.iter().map(|hit| hit.0).collect::<Vec<_>>(), [7, 8, 9]);
        assert!((fused[0].1 - 1.0).abs() < 1e-6);
        assert!((fused[1].1 - 61.0 / 62.0 / 2.0).abs() < 1e-6);
    }

    #[test]
    fn diversity_moves_near_equal_hits_down() {
        let vectors = |at: usize| Some([vec![1.0, 0.0], vec![1.0, 0.01], vec![0.0, 1.0]][at].clone());
        let hits = || vec![(0, 0.9), (1, 0.89), (2, 0.6)];
        let ids = |hits: Vec<(usize, f32)>| hits.into_iter().map(|hit| hit.0).collect::<Vec<_>>();
        assert_eq!(ids(diversify(hits(), vectors, 0.0, 2)), [0, 1]);
        assert_eq!(ids(diversify(hits(), vectors, 0.5, 2)), [0, 2]);
        assert_eq!(ids(diversify(hits(), vectors, 1.0, 9)), [0, 2, 1]);
    }
}

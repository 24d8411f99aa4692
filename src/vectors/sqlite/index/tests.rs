//! The index against a plain comparison of all vectors.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::vectors::ranking::normalize;

const DIMENSION: usize = 200;

/// Vectors in clusters on one side of the origin, as models make them.
fn vectors(count: usize) -> Vec<Vec<f32>> {
    let mut random = StdRng::seed_from_u64(1);
    let mut near = |middle: &[f32], spread: f32| {
        let mut vector: Vec<f32> =
            middle.iter().map(|value| value + spread * (random.random::<f32>() - 0.5)).collect();
        normalize(&mut vector);
        vector
    };
    let middles: Vec<Vec<f32>> = (0..20).map(|_| near(&[0.3; DIMENSION], 1.0)).collect();
    (0..count).map(|at| near(&middles[at % middles.len()], 0.3)).collect()
}

fn index(vectors: &[Vec<f32>], exact_bytes: usize) -> Index {
    let mut index = Index::with_exact_bytes(0, DIMENSION, exact_bytes);
    for (id, vector) in (0..).map(|at| at * 2).zip(vectors) {
        index.add(id, vector);
    }
    index
}

fn exact(vectors: &[Vec<f32>], query: &[f32], allowed: impl Fn(i64) -> bool, wanted: usize) -> Vec<i64> {
    let ids = (0..).map(|at| at * 2);
    let mut hits: Vec<_> = ids.zip(vectors).map(|(id, vector)| (id, dot(query, vector))).collect();
    hits.retain(|hit| allowed(hit.0));
    hits.sort_by(best_first);
    hits.into_iter().take(wanted).map(|hit| hit.0).collect()
}

fn ids(nearest: Nearest) -> Vec<i64> {
    match nearest {
        Nearest::Exact(hits) => hits.into_iter().map(|hit| hit.0).collect(),
        Nearest::Candidates(ids) => ids,
    }
}

#[test]
fn few_vectors_are_compared_exactly() {
    let vectors = vectors(500);
    let index = index(&vectors, usize::MAX);
    for query in &vectors[..20] {
        assert_eq!(ids(index.nearest(query, None, 10)), exact(&vectors, query, |_| true, 10));
        let allowed: Vec<i64> = (0..1000).step_by(6).collect();
        let found = ids(index.nearest(query, Some(&allowed), 10));
        assert_eq!(found, exact(&vectors, query, |id| id % 6 == 0, 10));
    }
    assert!(ids(index.nearest(&vectors[0], Some(&[]), 10)).is_empty());
}

#[test]
fn the_nearest_of_many_are_among_the_candidates() {
    let vectors = vectors(5_000);
    // Some are added before the signs are made, and some after.
    let index = index(&vectors, 1_000 * DIMENSION * 4);
    assert!(matches!(index.vectors, Vectors::Signs { .. }));
    assert!(index.bytes() < 5_000 * (8 + 32) + 2_000);
    let (mut found, mut found_filtered) = (0, 0);
    for query in &vectors[..20] {
        let nearest = ids(index.nearest(query, None, 10));
        assert_eq!(nearest.len(), MIN_RANKED);
        found += exact(&vectors, query, |_| true, 10).iter().filter(|id| nearest.contains(id)).count();
        let allowed: Vec<i64> = (0..10_000).step_by(6).collect();
        let nearest = ids(index.nearest(query, Some(&allowed), 10));
        assert!(nearest.iter().all(|id| id % 6 == 0));
        found_filtered +=
            exact(&vectors, query, |id| id % 6 == 0, 10).iter().filter(|id| nearest.contains(id)).count();
    }
    assert!(found >= 196, "{found} of 200");
    assert!(found_filtered >= 196, "{found_filtered} of 200");
}

#[test]
fn removed_chunks_are_gone_and_the_others_stay() {
    let vectors = vectors(400);
    for exact_bytes in [usize::MAX, 100 * DIMENSION * 4] {
        let mut index = index(&vectors, exact_bytes);
        // Odd ids are not there.
        index.remove(&[0, 1, 2, 3, 4, 700, 701, 10_000]);
        assert_eq!(index.ids.len(), 396);
        let gone = [0, 2, 4, 700];
        for query in &vectors[..20] {
            let nearest = ids(index.nearest(query, None, 400));
            let expected = exact(&vectors, query, |id| !gone.contains(&id), 400);
            assert_eq!(nearest.len(), expected.len());
            assert!(expected.iter().all(|id| nearest.contains(id)));
        }
        index.remove(&(0..800).collect::<Vec<_>>());
        assert!(ids(index.nearest(&vectors[0], None, 5)).is_empty());
    }
}

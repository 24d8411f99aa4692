//! The vectors of a generation in memory. Few of them are kept as they are and compared exactly. Of many only the signs
//! are kept, a bit for each dimension: a first pass by the number of bits that differ, a second one by the query's own
//! numbers with those signs, and the rest is ranked by the vectors in the file. See docs/adr/0028.

use std::cmp::Ordering;

use super::super::ranking::{best_first, dot};

/// Up to these bytes vectors are kept as they are.
const EXACT_BYTES: usize = 8 << 20;

/// Candidates whose vectors are read from the file, for each hit that is wanted, and at least.
const RANKED_PER_HIT: usize = 8;
const MIN_RANKED: usize = 256;

/// Candidates of the first pass for each of those.
const SIFTED_PER_RANKED: usize = 16;

const BITS: usize = u64::BITS as usize;

#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Of the generation in the file.
    pub(super) version: i64,
    dimension: usize,
    exact_bytes: usize,
    /// Of the chunks, ascending.
    ids: Vec<i64>,
    vectors: Vectors,
}

#[derive(Clone, Debug)]
enum Vectors {
    Exact(Vec<f32>),
    Signs {
        /// Middle of the vectors: signs are those of the differences to it, for many models have all their vectors
        /// on one side.
        mean: Vec<f32>,
        /// So many words for each vector that they have a bit for each dimension.
        words: Vec<u64>,
    },
}

#[derive(Debug, PartialEq)]
pub(super) enum Nearest {
    /// With their cosines, best first.
    Exact(Vec<(i64, f32)>),
    /// Ids of chunks, the nearest of which are among them.
    Candidates(Vec<i64>),
}

impl Index {
    pub(super) fn new(version: i64, dimension: usize) -> Self {
        Self::with_exact_bytes(version, dimension, EXACT_BYTES)
    }

    fn with_exact_bytes(version: i64, dimension: usize, exact_bytes: usize) -> Self {
        Self { version, dimension, exact_bytes, ids: Vec::new(), vectors: Vectors::Exact(Vec::new()) }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let vectors = match &self.vectors {
            Vectors::Exact(values) => size_of_val(values.as_slice()),
            Vectors::Signs { mean, words } => size_of_val(mean.as_slice()) + size_of_val(words.as_slice()),
        };
        size_of::<Self>() + size_of_val(self.ids.as_slice()) + vectors
    }

    /// Adds a chunk, whose id is higher than all that are here.
    pub(super) fn add(&mut self, id: i64, vector: &[f32]) {
        if let Vectors::Exact(values) = &self.vectors
            && (values.len() + vector.len()) * size_of::<f32>() > self.exact_bytes
        {
            self.vectors = signs_of(values, self.dimension);
        }
        match &mut self.vectors {
            Vectors::Exact(values) => values.extend_from_slice(vector),
            Vectors::Signs { mean, words } => words.extend(signs(vector, mean)),
        }
        self.ids.push(id);
    }

    /// Removes chunks, given by ids in ascending order.
    pub(super) fn remove(&mut self, ids: &[i64]) {
        let mut kept = vec![true; self.ids.len()];
        positions(&self.ids, ids, |at| kept[at] = false);
        match &mut self.vectors {
            Vectors::Exact(values) => retain(values, self.dimension, &kept),
            Vectors::Signs { words, .. } => retain(words, self.dimension.div_ceil(BITS), &kept),
        }
        retain(&mut self.ids, 1, &kept);
    }

    /// Finds `wanted` chunks that are nearest to a vector of length 1, among those allowed: ids in ascending order.
    pub(super) fn nearest(&self, query: &[f32], allowed: Option<&[i64]>, wanted: usize) -> Nearest {
        let Some(allowed) = allowed else { return self.nearest_of(query, 0..self.ids.len(), wanted) };
        let mut among = Vec::with_capacity(allowed.len());
        positions(&self.ids, allowed, |at| among.push(at));
        self.nearest_of(query, among.into_iter(), wanted)
    }

    fn nearest_of(
        &self,
        query: &[f32],
        among: impl ExactSizeIterator<Item = usize> + Clone,
        wanted: usize,
    ) -> Nearest {
        match &self.vectors {
            Vectors::Exact(values) => {
                let vector = |at: usize| &values[at * self.dimension..][..self.dimension];
                let mut hits: Vec<_> = among.map(|at| (self.ids[at], dot(query, vector(at)))).collect();
                keep_best(&mut hits, wanted, best_first);
                hits.sort_unstable_by(best_first);
                Nearest::Exact(hits)
            }
            Vectors::Signs { mean, words } => {
                let ranked = (wanted * RANKED_PER_HIT).max(MIN_RANKED);
                let found = sift(query, mean, words, among, ranked);
                Nearest::Candidates(found.into_iter().map(|at| self.ids[at]).collect())
            }
        }
    }
}

/// Chooses `ranked` positions among these by their signs.
fn sift(
    query: &[f32],
    mean: &[f32],
    words: &[u64],
    among: impl ExactSizeIterator<Item = usize> + Clone,
    ranked: usize,
) -> Vec<usize> {
    if among.len() <= ranked {
        return among.collect();
    }
    let width = query.len().div_ceil(BITS);
    let vector = |at: usize| &words[at * width..][..width];
    let sifted = ranked * SIFTED_PER_RANKED;
    let near: Vec<usize> = if among.len() <= sifted {
        among.collect()
    } else {
        let signs: Vec<u64> = signs(query, mean).collect();
        let different = |at: usize| -> u32 {
            vector(at).iter().zip(&signs).map(|(left, right)| (left ^ right).count_ones()).sum()
        };
        let distances: Vec<u32> = among.clone().map(different).collect();
        let most = nth_distance(&distances, query.len(), sifted);
        among.zip(distances).filter(|(_, distance)| *distance <= most).map(|(at, _)| at).collect()
    };
    let sums = SignedSums::new(query);
    let mut near: Vec<_> = near.into_iter().map(|at| (at, sums.of(vector(at)))).collect();
    keep_best(&mut near, ranked, best_first);
    near.into_iter().map(|(at, _)| at).collect()
}

/// The distance within which at least `count` of these are; there are that many distances at the most.
fn nth_distance(distances: &[u32], most: usize, count: usize) -> u32 {
    let mut histogram = vec![0_usize; most + 1];
    for distance in distances {
        histogram[*distance as usize] += 1;
    }
    let mut within = 0;
    for (distance, found) in (0..).zip(histogram) {
        within += found;
        if within >= count {
            return distance;
        }
    }
    u32::MAX
}

/// Sums of a query's numbers, each with the sign that a vector has there.
struct SignedSums {
    /// For eight dimensions each, the sum for every value of the byte with their signs.
    tables: Vec<[f32; 256]>,
}

impl SignedSums {
    fn new(query: &[f32]) -> Self {
        let table = |numbers: &[f32]| {
            let mut sums = [0.0; 256];
            for (signs, sum) in sums.iter_mut().enumerate() {
                let signed = numbers.iter().enumerate();
                *sum = signed.map(|(at, number)| if signs >> at & 1 == 1 { *number } else { -number }).sum();
            }
            sums
        };
        Self { tables: query.chunks(8).map(table).collect() }
    }

    fn of(&self, words: &[u64]) -> f32 {
        // A sum for each byte of a word, because a single one would have to wait for each addition.
        let mut sums = [0.0; 8];
        for (tables, word) in self.tables.chunks(8).zip(words) {
            for ((sum, table), byte) in sums.iter_mut().zip(tables).zip(word.to_le_bytes()) {
                *sum += table[usize::from(byte)];
            }
        }
        sums.iter().sum()
    }
}

fn signs_of(values: &[f32], dimension: usize) -> Vectors {
    let mut mean = vec![0.0; dimension];
    let mut count: f32 = 0.0;
    for vector in values.chunks_exact(dimension) {
        mean.iter_mut().zip(vector).for_each(|(mean, value)| *mean += value);
        count += 1.0;
    }
    mean.iter_mut().for_each(|mean| *mean /= count.max(1.0));
    let words =
        values.chunks_exact(dimension).flat_map(|vector| signs(vector, &mean).collect::<Vec<_>>()).collect();
    Vectors::Signs { mean, words }
}

/// A bit for each dimension, 1 where the vector is beyond the mean.
fn signs<'a>(vector: &'a [f32], mean: &'a [f32]) -> impl Iterator<Item = u64> + 'a {
    vector.chunks(BITS).zip(mean.chunks(BITS)).map(|(values, means)| {
        let bits = values.iter().zip(means).enumerate();
        bits.fold(0, |word, (at, (value, mean))| word | u64::from(value > mean) << at)
    })
}

/// Calls with the position of each of these ids that is there; both are ascending.
fn positions(all: &[i64], ids: &[i64], mut found: impl FnMut(usize)) {
    let mut ids = ids.iter().peekable();
    for (at, id) in all.iter().enumerate() {
        while ids.next_if(|wanted| *wanted < id).is_some() {}
        match ids.peek() {
            Some(wanted) if *wanted == id => found(at),
            Some(_) => {}
            None => return,
        }
    }
}

/// Keeps those items, of `width` values each, whose position is marked.
fn retain<T: Copy>(values: &mut Vec<T>, width: usize, kept: &[bool]) {
    let mut to = 0;
    for (at, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
        values.copy_within(at * width..(at + 1) * width, to);
        to += width;
    }
    values.truncate(to);
}

fn keep_best<T>(hits: &mut Vec<T>, count: usize, order: impl FnMut(&T, &T) -> Ordering) {
    if hits.len() > count {
        hits.select_nth_unstable_by(count, order);
        hits.truncate(count);
    }
}

#[cfg(test)]
mod tests;

//! Many durations in little room, with quantiles that are true to within 2 %. Buckets grow by a
//! constant ratio, so that the error is relative: DDSketch (Masson, Rim, Lee: "DDSketch: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019).

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// How far a quantile may be from the true one.
const ACCURACY: f64 = 0.019;

/// The ratio of a bucket's bounds.
const RATIO: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);

/// Buckets for all nanoseconds that 64 bits can tell.
const BUCKETS: usize = 1200;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    pub count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
    buckets: Buckets,
}

/// From the first bucket that is not empty.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets {
    first: usize,
    counts: Vec<u64>,
}

impl Durations {
    pub fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.min_ns = if self.count == 0 { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.buckets.add(bucket(ns), 1);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_ns = if self.count == 0 { other.min_ns } else { self.min_ns.min(other.min_ns) };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        for (at, count) in other.buckets.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.buckets.add(other.buckets.first + at, *count);
        }
    }

    /// Seconds; 0 when there are none, as with the others below.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum() / self.count as f64 }
    }

    pub fn sum(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    pub fn min(&self) -> f64 {
        self.min_ns as f64 / 1e9
    }

    pub fn max(&self) -> f64 {
        self.max_ns as f64 / 1e9
    }

    /// The smallest duration that `share` of all do not exceed (nearest rank), to within 2 %.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let ns = middle(self.buckets.first + at);
                return ns.clamp(self.min_ns as f64, self.max_ns as f64) / 1e9;
            }
        }
        self.max()
    }
}

fn bucket(ns: u64) -> usize {
    if ns <= 1 { 0 } else { ((ns as f64).ln() / RATIO.ln()).ceil() as usize }
}

/// The value whose relative distance to both bounds is the same.
fn middle(bucket: usize) -> f64 {
    2.0 * RATIO.powf(bucket as f64) / (1.0 + RATIO)
}

impl Buckets {
    fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first - bucket;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let at = bucket - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += count;
    }
}

/// Pairs of a bucket's distance to the one before and its count; empty ones are left out.
impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut next = 0;
        let pairs: Vec<(usize, u64)> = filled
            .map(|(at, count)| {
                let gap = self.first + at - next;
                next = self.first + at + 1;
                (gap, *count)
            })
            .collect();
        serializer.collect_seq(pairs)
    }
}

impl<'de> Deserialize<'de> for Buckets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Buckets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pairs of a distance and a count")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Buckets, A::Error> {
        let mut buckets = Buckets::default();
        let mut next = 0_usize;
        while let Some((gap, count)) = pairs.next_element::<(usize, u64)>()? {
            let bucket = next.saturating_add(gap);
            if bucket >= BUCKETS {
                return Err(A::Error::custom("a bucket that does not exist"));
            }
            buckets.add(bucket, count);
            next = bucket + 1;
        }
        Ok(buckets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_true_to_within_two_percent(
            mut values in prop::collection::vec(prop_oneof![1..2_000_u64, 1_000..5_000_000_u64, 1_000_000..600_000_000_000_u64], 1..400),
            split in 0..400_usize,
            share in 0.0..=1.0_f64,
        ) {
            // In two parts that are put together, one of them by way of the disk.
            let (mut first, mut second) = (Durations::default(), Durations::default());
            for (at, ns) in values.iter().enumerate() {
                if at < split { &mut first } else { &mut second }.add(Duration::from_nanos(*ns));
            }
            let bytes = postcard::to_allocvec(&second).expect("plain data");
            first.merge(&postcard::from_bytes(&bytes).expect("what was written"));
            values.sort_unstable();
            for share in [share, 0.5, 0.95, 0.99] {
                let rank = ((share * values.len() as f64).ceil() as usize).max(1);
                let (exact, told) = (values[rank - 1] as f64 / 1e9, first.quantile(share));
                prop_assert!((told - exact).abs() <= 0.02 * exact, "{share}: {told} for {exact}");
            }
            prop_assert_eq!(first.count, values.len() as u64);
            prop_assert_eq!((first.min() * 1e9).round() as u64, values[0]);
            prop_assert_eq!((first.max() * 1e9).round() as u64, values[values.len() - 1]);
        }

        #[test]
        fn foreign_bytes_are_refused_or_read_and_take_little_room(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(durations) = postcard::from_bytes::<Durations>(&bytes) {
                prop_assert!(durations.buckets.counts.len() <= BUCKETS);
            }
        }
    }

    #[test]
    fn the_longest_duration_has_a_bucket() {
        assert!(bucket(u64::MAX) < BUCKETS);
        let mut durations = Durations::default();
        durations.add(Duration::MAX);
        durations.add(Duration::ZERO);
        assert_eq!((durations.min(), durations.count), (0.0, 2));
    }
}

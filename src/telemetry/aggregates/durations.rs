//! Many durations in little room, with quantiles that are true to within 2 %. Buckets grow by a
//! constant ratio, so that the error is relative: DDSketch (Masson, Rim, Lee: "DDSketch: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019).

use std::{fmt, sync::LazyLock, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
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
        self.buckets.add(bucket(ns));
    }

    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min_ns = if self.count == 0 { other.min_ns } else { self.min_ns.min(other.min_ns) };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.buckets.merge(&other.buckets);
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
    static LN_RATIO: LazyLock<f64> = LazyLock::new(|| RATIO.ln());
    if ns <= 1 { 0 } else { ((ns as f64).ln() / *LN_RATIO).ceil() as usize }
}

/// The value whose relative distance to both bounds is the same.
fn middle(bucket: usize) -> f64 {
    2.0 * RATIO.powf(bucket as f64) / (1.0 + RATIO)
}

impl Buckets {
    fn add(&mut self, bucket: usize) {
        self.reach(bucket, bucket + 1);
        self.counts[bucket - self.first] += 1;
    }

    fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        self.reach(other.first, other.first + other.counts.len());
        let ours = &mut self.counts[other.first - self.first..];
        for (ours, theirs) in ours.iter_mut().zip(&other.counts) {
            *ours += theirs;
        }
    }

    /// Makes room for the buckets from `first` to before `end`.
    fn reach(&mut self, first: usize, end: usize) {
        if self.counts.is_empty() {
            self.first = first;
        }
        if first < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - first));
            self.first = first;
        }
        if end - self.first > self.counts.len() {
            self.counts.resize(end - self.first, 0);
        }
    }

    /// The first bucket, how many there are, and their counts; a count of zero is followed by the
    /// number of zeros. A week is hundreds of thousands of counts, so this is done by hand.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.counts.len());
        write_number(&mut bytes, self.first as u64);
        write_number(&mut bytes, self.counts.len() as u64);
        let mut rest = self.counts.as_slice();
        while let Some(count) = rest.first() {
            write_number(&mut bytes, *count);
            let same = if *count == 0 { rest.iter().take_while(|count| **count == 0).count() } else { 1 };
            if *count == 0 {
                write_number(&mut bytes, same as u64);
            }
            rest = &rest[same..];
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let first = usize::try_from(read_number(&mut bytes)?).ok()?;
        let len = usize::try_from(read_number(&mut bytes)?).ok()?;
        if first.checked_add(len)? > BUCKETS {
            return None;
        }
        let mut counts = vec![0; len];
        let mut at = 0;
        while at < len {
            let count = read_number(&mut bytes)?;
            counts[at] = count;
            at += if count == 0 { usize::try_from(read_number(&mut bytes)?).ok()?.max(1) } else { 1 };
        }
        (at == len && bytes.is_empty()).then_some(Self { first, counts })
    }
}

/// Seven bits in each byte, the lowest first; all but the last have the highest bit set (LEB128).
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Buckets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BucketBytes)
    }
}

struct BucketBytes;

impl Visitor<'_> for BucketBytes {
    type Value = Buckets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts of buckets")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Buckets, E> {
        Buckets::from_bytes(bytes).ok_or_else(|| E::custom("these are not counts of buckets"))
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
            if let Some(buckets) = Buckets::from_bytes(&bytes) {
                prop_assert!(buckets.first + buckets.counts.len() <= BUCKETS);
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

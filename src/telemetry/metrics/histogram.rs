//! A Prometheus histogram of seconds, with one exemplar for each bucket: a request that fell into
//! it, so that a slow one can be looked up in logs and traces.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        fence,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::telemetry::{sample::ShortId, text::Exposition};

/// Upper bounds for whole requests and calls: from a cache hit to a slow model's long answer.
pub(super) const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds for the time of one token: from a small model on a fast machine to a large one on a
/// slow machine.
pub(super) const TOKEN_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5];

pub(super) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound and one for what is above the last.
    buckets: Box<[Bucket]>,
    sum_ns: AtomicU64,
}

#[derive(Default)]
struct Bucket {
    count: AtomicU64,
    exemplar: Exemplar,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Bucket::default()).collect();
        Self { bounds, buckets, sum_ns: AtomicU64::new(0) }
    }

    pub(super) fn record(&self, value: Duration) {
        self.count(value);
    }

    /// The same, and remembers whose it was.
    pub(super) fn record_for(&self, value: Duration, id: ShortId, at: SystemTime) {
        self.count(value).exemplar.offer(id, value, at);
    }

    fn count(&self, value: Duration) -> &Bucket {
        let seconds = value.as_secs_f64();
        let bucket = &self.buckets[self.bounds.partition_point(|bound| *bound < seconds)];
        bucket.count.fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        bucket
    }

    /// The samples of one set of labels, of all these together; they have the same bounds.
    pub(super) fn render(copies: &[&Self], out: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        let Some(first) = copies.first() else { return };
        let bucket_name = format!("{name}_bucket");
        let mut count = 0;
        let bounds = first.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (at, bound) in bounds.enumerate() {
            count += copies.iter().map(|copy| copy.buckets[at].count.load(Relaxed)).sum::<u64>();
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            match copies.iter().find_map(|copy| copy.buckets[at].exemplar.read()) {
                Some((id, seconds, at)) => {
                    out.sample_with(&bucket_name, &labels, count as f64, (&id, seconds, at));
                }
                None => out.sample(&bucket_name, &labels, count as f64),
            }
        }
        let sum_ns: u64 = copies.iter().map(|copy| copy.sum_ns.load(Relaxed)).sum();
        out.sample(&format!("{name}_sum"), labels, sum_ns as f64 / 1e9);
        out.sample(&format!("{name}_count"), labels, count as f64);
    }
}

/// The latest request of a bucket, replaced once a second at most. A sequence lock: odd while it is
/// written, and whoever comes in the middle goes on without it.
#[derive(Default)]
struct Exemplar {
    sequence: AtomicU64,
    id: [AtomicU64; ShortId::BYTES / 8],
    duration_ns: AtomicU64,
    /// Since 1970.
    at_ms: AtomicU64,
}

impl Exemplar {
    fn offer(&self, id: ShortId, duration: Duration, at: SystemTime) {
        let at_ms = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let recent = self.at_ms.load(Relaxed).abs_diff(at_ms) < 1000;
        if recent || id.is_empty() {
            return;
        }
        let sequence = self.sequence.load(Relaxed);
        if sequence % 2 == 1
            || self.sequence.compare_exchange(sequence, sequence + 1, AcqRel, Relaxed).is_err()
        {
            return;
        }
        let (words, []) = id.0.as_chunks::<8>() else { return };
        for (slot, word) in self.id.iter().zip(words) {
            slot.store(u64::from_le_bytes(*word), Release);
        }
        self.duration_ns.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Release);
        self.at_ms.store(at_ms, Release);
        self.sequence.store(sequence + 2, Release);
    }

    /// The id, seconds, and when it was.
    fn read(&self) -> Option<(String, f64, f64)> {
        let sequence = self.sequence.load(Acquire);
        if sequence == 0 || sequence % 2 == 1 {
            return None;
        }
        let bytes: Vec<u8> = self.id.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        let seconds = self.duration_ns.load(Relaxed) as f64 / 1e9;
        let at = self.at_ms.load(Relaxed) as f64 / 1e3;
        fence(Acquire);
        if self.sequence.load(Relaxed) != sequence {
            return None;
        }
        let id = String::from_utf8(bytes).ok()?;
        Some((id.trim_end_matches('\0').to_owned(), seconds, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemplar_is_one_request_whole_whatever_runs_at_once() {
        let (exemplar, writing) = (Exemplar::default(), AtomicU64::new(2));
        let id = |n: u64| format!("{n:08}").repeat(4);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (exemplar, writing) = (&exemplar, &writing);
                scope.spawn(move || {
                    for n in (thread..200_000).step_by(2) {
                        let at = UNIX_EPOCH + Duration::from_secs(2 * n + 10);
                        exemplar.offer(ShortId::new(&id(n)), Duration::from_nanos(n), at);
                    }
                    writing.fetch_sub(1, Relaxed);
                });
            }
            while writing.load(Relaxed) > 0 {
                if let Some((read, seconds, at)) = exemplar.read() {
                    let n = (seconds * 1e9).round() as u64;
                    assert_eq!((read, at), (id(n), (2 * n + 10) as f64));
                }
            }
        });
        assert!(exemplar.read().is_some());
        let long = "x".repeat(ShortId::BYTES + 1);
        exemplar.offer(ShortId::new(&long), Duration::ZERO, SystemTime::now());
        assert_ne!(exemplar.read().map(|(id, ..)| id), Some(long));
    }
}

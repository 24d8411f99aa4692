//! A Prometheus histogram of seconds, with one exemplar for each bucket: a request that fell into
//! it, so that a slow one can be looked up in logs and traces.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::telemetry::text::{Exemplar, Exposition};

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
    latest: Latest,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Bucket::default()).collect();
        Self { bounds, buckets, sum_ns: AtomicU64::new(0) }
    }

    pub(super) fn record(&self, value: Duration) {
        self.count(value);
    }

    /// Records a value and offers its request as the bucket's exemplar.
    pub(super) fn record_for(&self, value: Duration, request_id: &str, at: SystemTime) {
        self.count(value).latest.offer(request_id, value, at);
    }

    fn count(&self, value: Duration) -> &Bucket {
        let seconds = value.as_secs_f64();
        let bucket = &self.buckets[self.bounds.partition_point(|bound| *bound < seconds)];
        bucket.count.fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        bucket
    }

    /// The samples of one set of labels.
    pub(super) fn render(&self, out: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        let bucket_name = format!("{name}_bucket");
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            count += bucket.count.load(Relaxed);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            out.sample_with(&bucket_name, &labels, count as f64, bucket.latest.read());
        }
        out.sample(&format!("{name}_sum"), labels, self.sum_ns.load(Relaxed) as f64 / 1e9);
        out.sample(&format!("{name}_count"), labels, count as f64);
    }
}

/// Longest id of a request that may be an exemplar: OpenMetrics allows 128 characters for an
/// exemplar's labels, their names included.
const MAX_ID: usize = 128 - "request_id".len();

/// The latest request of a bucket, replaced once a second at most, so that hardly any request takes
/// the lock.
#[derive(Default)]
struct Latest {
    /// Second since 1970 of the exemplar.
    second: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl Latest {
    fn offer(&self, request_id: &str, duration: Duration, at: SystemTime) {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if request_id.len() > MAX_ID || self.second.load(Relaxed) == at.as_secs() {
            return;
        }
        self.second.store(at.as_secs(), Relaxed);
        let exemplar = Exemplar {
            request_id: request_id.to_owned(),
            seconds: duration.as_secs_f64(),
            at: at.as_secs_f64(),
        };
        *self.exemplar.lock().unwrap_or_else(PoisonError::into_inner) = Some(exemplar);
    }

    fn read(&self) -> Option<Exemplar> {
        self.exemplar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemplar_is_one_request_whole_and_one_a_second() {
        let latest = Latest::default();
        let at = |second: u64| UNIX_EPOCH + Duration::from_secs(second);
        latest.offer("first", Duration::from_millis(1), at(10));
        latest.offer("same second", Duration::from_millis(2), at(10));
        let first = Exemplar { request_id: "first".to_owned(), seconds: 0.001, at: 10.0 };
        assert_eq!(latest.read(), Some(first));
        latest.offer("second", Duration::from_millis(3), at(11));
        let second = Exemplar { request_id: "second".to_owned(), seconds: 0.003, at: 11.0 };
        assert_eq!(latest.read(), Some(second.clone()));
        latest.offer(&"x".repeat(MAX_ID + 1), Duration::ZERO, at(12));
        assert_eq!(latest.read(), Some(second), "too long for an exemplar");
    }
}

//! Aggregates of requests and model calls. Each thread adds samples to a batch of its own and waits
//! for nobody; whoever wants to know figures collects the batches first. Here they are in memory
//! only; `store/` takes them to disk.

mod batch;
mod durations;
mod failures;
mod pending;
mod totals;
mod window;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Instant, SystemTime},
};

use self::{
    batch::Batch,
    pending::{Pending, minute},
    window::{SLOTS, Second, SlidingWindow},
};
pub use self::{
    durations::Durations,
    failures::FailureRecord,
    pending::{Minute, MinuteRow, Unwritten},
    totals::{Aggregates, EndpointAggregates, Endpoints, KeyAggregates, ModelAggregates, percent},
    window::Recent,
};
use super::{
    labels::Purpose,
    metrics::{CacheMetrics, HttpMetrics},
    record::{ModelCall, RequestRecord},
    sink::Sink,
    stripe::Striped,
};

/// The wall clock; tests have one of their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

pub struct Aggregator {
    began: Instant,
    batches: Striped<Mutex<Batch>>,
    clock: Clock,
    http: Arc<HttpMetrics>,
    cache: Arc<CacheMetrics>,
    /// Nobody who handles a request takes this lock.
    collector: Mutex<Collector>,
}

struct Collector {
    window: SlidingWindow,
    /// Totals left by an earlier process, by the second at which they count as over.
    before: Vec<(Second, Recent)>,
    pending: Pending,
    /// Lookups of the cache that have been added up.
    hits: [u64; 4],
    misses: [u64; 4],
}

impl Aggregator {
    /// Counts requests for `http`, too, and takes what the cache counts over into its figures.
    pub fn new(http: Arc<HttpMetrics>, cache: Arc<CacheMetrics>) -> Self {
        Self::with_clock(http, cache, Arc::new(SystemTime::now))
    }

    pub fn with_clock(http: Arc<HttpMetrics>, cache: Arc<CacheMetrics>, clock: Clock) -> Self {
        let collector = Collector {
            window: SlidingWindow::new(),
            before: Vec::new(),
            pending: Pending::default(),
            hits: [0; 4],
            misses: [0; 4],
        };
        Self {
            began: Instant::now(),
            batches: Striped::new(Mutex::default),
            clock,
            http,
            cache,
            collector: Mutex::new(collector),
        }
    }

    /// Returns the totals of the last `minutes`, an hour at most, also before the start as far as they have been
    /// recalled. All figures cover the same time.
    pub fn recent(&self, minutes: u64) -> Recent {
        let (now, seconds) = (self.second(Instant::now()), minutes.saturating_mul(60));
        let collector = self.collected();
        let mut recent = collector.window.recent(now, seconds);
        let counts = |second: Second| second + seconds.min(SLOTS) > now;
        collector.before.iter().filter(|(at, _)| counts(*at)).for_each(|(_, happened)| recent.add(happened));
        recent
    }

    /// Takes in what a process before this one has left of these minutes. What a clock that was put back
    /// has left in the future is as good as unknown.
    pub fn recall(&self, minutes: impl IntoIterator<Item = (Minute, Aggregates)>) {
        let (now, second) = (self.now(), self.second(Instant::now()));
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let recalled = minutes.into_iter().filter(|(start, _)| *start <= minute(now));
        let recalled = recalled.map(|(start, mut aggregates)| {
            aggregates.set_apart(self.is_service());
            let over = start.unsigned_abs().saturating_add(1).saturating_mul(60);
            (second.saturating_sub(seconds.saturating_sub(over)), Recent::of_figures(&aggregates))
        });
        self.collector().before = recalled.collect();
    }

    /// Whether a template is that of one of the service's own routes.
    pub fn is_service(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let http = Arc::clone(&self.http);
        move |template| http.purpose(template) == Purpose::Service
    }

    /// Returns the totals of the last whole seconds, without the current one.
    pub fn last_seconds(&self, seconds: u64) -> Recent {
        let now = self.second(Instant::now());
        self.collected().window.recent(now.saturating_sub(1), seconds)
    }

    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// All that is not on disk for good.
    pub fn unwritten(&self) -> Unwritten {
        self.collected().pending.unwritten(false)
    }

    /// Returns the rows that have to be written now.
    pub fn to_write(&self) -> Unwritten {
        self.collected().pending.unwritten(true)
    }

    /// Counts every request that has ended.
    pub(super) fn count(&self) {
        self.batches.all().for_each(|batch| lock(batch).count(&self.http));
    }

    /// This has been written.
    pub fn written(&self, written: &Unwritten) {
        let now = self.now();
        self.collector().pending.written(written, now);
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        lock(&self.collector)
    }

    fn collected(&self) -> MutexGuard<'_, Collector> {
        let mut collector = self.collector();
        for batch in self.batches.all() {
            let mut batch = lock(batch);
            batch.count(&self.http);
            let batch = std::mem::take(&mut *batch);
            collector.collect(batch);
        }
        collector.collect_lookups(self.cache.lookups(), minute(self.now()), self.second(Instant::now()));
        collector
    }

    fn second(&self, at: Instant) -> Second {
        at.saturating_duration_since(self.began).as_secs() + SLOTS
    }

    /// A batch that nobody else has at this moment, this thread's own if possible. It is away only
    /// while somebody collects it, or another thread found its own away; that all are is as good as
    /// impossible.
    fn batch(&self) -> MutexGuard<'_, Batch> {
        let free = self.batches.mine_first().find_map(|batch| match batch.try_lock() {
            Ok(batch) => Some(batch),
            Err(TryLockError::Poisoned(batch)) => Some(batch.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| lock(self.batches.mine()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector {
    fn collect(&mut self, Batch { minutes, seconds, failures, .. }: Batch) {
        for (second, happened) in seconds {
            self.window.add(second, &happened);
        }
        self.pending.append(minutes, failures);
    }

    fn collect_lookups(&mut self, (hits, misses): ([u64; 4], [u64; 4]), minute: Minute, second: Second) {
        if (hits, misses) == (self.hits, self.misses) {
            return;
        }
        let since =
            |now: [u64; 4], then: [u64; 4]| std::array::from_fn(|at| now[at].saturating_sub(then[at]));
        let (new_hits, new_misses) = (since(hits, self.hits), since(misses, self.misses));
        self.pending.aggregates(minute).lookups(new_hits, new_misses);
        let (cache_hits, cache_misses) = (new_hits.iter().sum(), new_misses.iter().sum());
        self.window.add(second, &Recent { cache_hits, cache_misses, ..Recent::default() });
        (self.hits, self.misses) = (hits, misses);
    }
}

impl Sink for Aggregator {
    fn request_ended(&self, observed: &RequestRecord) {
        self.batch().request(self.second(observed.ended), observed, &self.http);
    }

    fn call_ended(&self, call: &ModelCall) {
        self.batch().call(self.second(call.ended), call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        telemetry::{
            recorder::{RequestRecorder, RequestStart},
            sink::Sinks,
        },
        types::KeyId,
    };

    #[test]
    fn who_finds_a_batch_away_takes_another_and_nothing_is_lost() {
        let aggregator = Arc::new(Aggregator::new(Arc::default(), Arc::default()));
        let observe = || {
            let recorder = RequestRecorder::begin(Sinks::new(vec![aggregator.clone()]), RequestStart::any());
            recorder.key(KeyId::new([7; 4]));
            recorder.complete(200);
        };
        observe();
        let away = aggregator.batch();
        observe();
        drop(away);
        assert_eq!(aggregator.recent(1).requests, 2);
        let unwritten = aggregator.unwritten();
        let requests = |part: &MinuteRow| part.aggregates.requests();
        assert_eq!(unwritten.parts.iter().map(requests).sum::<u64>(), 2);
        assert_eq!(aggregator.recent(1).requests, 2, "what has been collected is not collected again");
    }
}

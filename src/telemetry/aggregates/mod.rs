//! Aggregates of requests and model calls, in memory; `store/` takes them to disk. A record is added
//! to its second and its minute as it ends. The lock is held for these additions only: copies of
//! minutes for readers and for the disk share the minute until it changes again.

mod durations;
mod failures;
mod latencies;
mod pending;
mod stored;
mod totals;
mod window;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

pub use self::{
    durations::Durations,
    failures::FailureRecord,
    latencies::Latencies,
    pending::{Minute, MinuteRow, Unwritten},
    totals::{Aggregates, EndpointAggregates, Endpoints, KeyAggregates, ModelAggregates, Tokens, percent},
    window::Recent,
};
use self::{
    latencies::LastMinute,
    pending::{Pending, minute},
    window::{SLOTS, Second, SlidingWindow},
};
use super::{
    labels::Purpose,
    metrics::{CacheMetrics, HttpMetrics},
    record::{ModelCall, RequestRecord},
    sink::Sink,
};
use crate::types::PerType;

/// The wall clock; tests have one of their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

pub struct Aggregator {
    began: Instant,
    clock: Clock,
    http: Arc<HttpMetrics>,
    cache: Arc<CacheMetrics>,
    state: Mutex<State>,
}

struct State {
    window: SlidingWindow,
    last_minute: LastMinute,
    /// Totals left by an earlier process, by the second at which they count as over.
    before: Vec<(Second, Recent)>,
    pending: Pending,
    /// Lookups of the cache that have been added up.
    hits: PerType<u64>,
    misses: PerType<u64>,
}

impl Aggregator {
    /// Takes the purpose of each route from `http`, and what the cache counts into its own figures.
    pub fn new(http: Arc<HttpMetrics>, cache: Arc<CacheMetrics>) -> Self {
        Self::with_clock(http, cache, Arc::new(SystemTime::now))
    }

    pub fn with_clock(http: Arc<HttpMetrics>, cache: Arc<CacheMetrics>, clock: Clock) -> Self {
        let state = State {
            window: SlidingWindow::new(),
            last_minute: LastMinute::default(),
            before: Vec::new(),
            pending: Pending::default(),
            hits: PerType::default(),
            misses: PerType::default(),
        };
        Self { began: Instant::now(), clock, http, cache, state: Mutex::new(state) }
    }

    /// Returns the totals of the last `minutes`, an hour at most, also before the start as far as they have been
    /// recalled. All figures cover the same time.
    pub fn recent(&self, minutes: u64) -> Recent {
        let (now, seconds) = (self.second(Instant::now()), minutes.saturating_mul(60));
        let state = self.current();
        let mut recent = state.window.recent(now, seconds);
        let counts = |second: Second| second + seconds.min(SLOTS) > now;
        state.before.iter().filter(|(at, _)| counts(*at)).for_each(|(_, happened)| recent.add(happened));
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
        self.state().before = recalled.collect();
    }

    /// Whether a template is that of one of the service's own routes.
    pub fn is_service(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let http = Arc::clone(&self.http);
        move |template| http.purpose(template) == Purpose::Service
    }

    /// Returns the totals of the last whole seconds, without the current one.
    pub fn last_seconds(&self, seconds: u64) -> Recent {
        let now = self.second(Instant::now());
        self.current().window.recent(now.saturating_sub(1), seconds)
    }

    /// Latencies of the last 60 whole seconds, without the current one.
    pub fn latencies(&self) -> Latencies {
        let now = self.second(Instant::now());
        self.state().last_minute.sum(now.saturating_sub(1))
    }

    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// All that is not on disk for good.
    pub fn unwritten(&self) -> Unwritten {
        self.current().pending.unwritten(false)
    }

    /// Returns the rows that have to be written now.
    pub fn to_write(&self) -> Unwritten {
        self.current().pending.unwritten(true)
    }

    /// This has been written.
    pub fn written(&self, written: &Unwritten) {
        let now = self.now();
        self.state().pending.written(written, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with the cache's lookups up to now.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.add_lookups(self.cache.lookups(), minute(self.now()), self.second(Instant::now()));
        state
    }

    fn second(&self, at: Instant) -> Second {
        at.saturating_duration_since(self.began).as_secs() + SLOTS
    }
}

impl State {
    fn add_lookups(&mut self, (hits, misses): (PerType<u64>, PerType<u64>), minute: Minute, second: Second) {
        if (hits, misses) == (self.hits, self.misses) {
            return;
        }
        let since = |now: PerType<u64>, then: PerType<u64>| {
            PerType::new(|entry_type| now[entry_type].saturating_sub(then[entry_type]))
        };
        let (new_hits, new_misses) = (since(hits, self.hits), since(misses, self.misses));
        self.pending.aggregates(minute).lookups(new_hits, new_misses);
        let (cache_hits, cache_misses) = (new_hits.sum(), new_misses.sum());
        self.window.add(second, &Recent { cache_hits, cache_misses, ..Recent::default() });
        (self.hits, self.misses) = (hits, misses);
    }
}

impl Sink for Aggregator {
    fn request_ended(&self, request: &RequestRecord) {
        let second = self.second(request.ended);
        let mut state = self.state();
        if let Some(happened) = Recent::of_request(request) {
            state.window.add(second, &happened);
            state.last_minute.slot(second).response.add(request.duration);
        }
        state.pending.request(request);
    }

    fn call_ended(&self, call: &ModelCall) {
        let second = self.second(call.ended);
        let mut state = self.state();
        state.window.add(second, &Recent::of_call(call));
        if let Some(took) = call.first_token {
            state.last_minute.slot(second).first_token.add(took);
        }
        state.pending.call(call);
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

    const THREADS: u64 = 4;
    const EACH: u64 = 500;

    #[test]
    fn requests_of_many_threads_are_counted_once_while_others_read_and_write() {
        let aggregator = Arc::new(Aggregator::new(Arc::default(), Arc::default()));
        let sinks = Sinks::new(vec![aggregator.clone()]);
        let mut on_disk = std::collections::HashMap::new();
        let mut write = || {
            let written = aggregator.to_write();
            for row in &written.parts {
                on_disk.insert(row.id, row.aggregates.requests());
            }
            aggregator.written(&written);
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let recorder = RequestRecorder::begin(sinks.clone(), RequestStart::any());
                        recorder.key(KeyId::new([7; 4]));
                        recorder.complete(200);
                    }
                });
            }
            while aggregator.recent(1).requests < THREADS * EACH {
                write();
            }
        });
        write();
        assert_eq!(on_disk.values().sum::<u64>(), THREADS * EACH);
        assert!(aggregator.to_write().parts.is_empty(), "everything has been written");
        assert_eq!(aggregator.recent(1).requests, THREADS * EACH, "reading counts nothing twice");
    }
}

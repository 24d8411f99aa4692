//! What has been observed, added up. Requests only put a record into a channel, which takes no lock;
//! whoever wants to know figures collects the records first. Here they are in memory only; `store/`
//! takes them to disk.

mod durations;
mod figures;
mod pending;
mod window;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, mpsc};

pub use self::{
    durations::Durations,
    figures::{EndpointFigures, Figures, KeyFigures, ModelFigures, percent},
    pending::{FailureRecord, Minute, Part, Unwritten},
    window::Recent,
};
use self::{pending::Pending, window::Window};
use super::{
    call::Call,
    labels::LEFT,
    metrics::CacheMetrics,
    observation::{Observed, Outcome},
    sink::Sink,
};
use crate::types::{KeyId, Usage};

/// Records that may wait to be collected. More are lost, and counted.
const WAITING: usize = 64 * 1024;

/// Each time so many more wait, somebody is called to collect them: they take no memory to speak of.
const CROWD: usize = 256;

/// Characters of a failed request's path that are kept.
const PATH_CHARS: usize = 200;

/// What figures are made of.
#[derive(Debug)]
enum Record {
    Request(RequestRecord),
    /// Boxed, for a call costs a thousand times more anyway, and most requests need none.
    Call(Box<CallRecord>),
}

#[derive(Debug)]
struct RequestRecord {
    method: &'static str,
    endpoint: &'static str,
    status: u16,
    outcome: Outcome,
    key: Option<KeyId>,
    duration: Duration,
    bytes_in: u64,
    bytes_out: u64,
    failure: Option<Box<FailureRecord>>,
    ended: Instant,
    ended_at: SystemTime,
}

#[derive(Debug)]
struct CallRecord {
    model: Arc<str>,
    method: &'static str,
    endpoint: &'static str,
    key: KeyId,
    usage: Option<Usage>,
    first_token: Option<Duration>,
    per_token: Option<Duration>,
    failed: bool,
    ended: Instant,
    ended_at: SystemTime,
}

/// The wall clock; tests have one of their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

pub struct Rollups {
    records: mpsc::Sender<Record>,
    lost: AtomicU64,
    crowded: Notify,
    clock: Clock,
    cache: Arc<CacheMetrics>,
    /// Nobody who handles a request takes this lock.
    collector: Mutex<Collector>,
}

struct Collector {
    records: mpsc::Receiver<Record>,
    window: Window,
    pending: Pending,
    /// Lookups of the cache that have been added up.
    hits: [u64; 4],
    misses: [u64; 4],
}

impl Rollups {
    /// Takes what the cache counts over into its figures.
    pub fn new(cache: Arc<CacheMetrics>) -> Self {
        Self::with_clock(cache, Arc::new(SystemTime::now))
    }

    pub fn with_clock(cache: Arc<CacheMetrics>, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let collector = Collector {
            records: receiver,
            window: Window::new(Instant::now()),
            pending: Pending::default(),
            hits: [0; 4],
            misses: [0; 4],
        };
        Self {
            records: sender,
            lost: AtomicU64::new(0),
            crowded: Notify::new(),
            clock,
            cache,
            collector: Mutex::new(collector),
        }
    }

    /// What happened in the last `minutes`, an hour at most. All figures cover the same time.
    pub fn recent(&self, minutes: u64) -> Recent {
        self.collected().window.recent(Instant::now(), minutes.saturating_mul(60))
    }

    /// What happened in so many whole seconds, the one that is not over left out.
    pub fn last_seconds(&self, seconds: u64) -> Recent {
        let now = Instant::now();
        let before = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        self.collected().window.recent(before, seconds)
    }

    /// Records that nobody collected in time, since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// All that is not on disk for good.
    pub fn unwritten(&self) -> Unwritten {
        self.collected().pending.unwritten(false)
    }

    /// What has to be written now.
    pub fn to_write(&self) -> Unwritten {
        self.collected().pending.unwritten(true)
    }

    /// Completes when many records wait to be collected.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    pub fn collect(&self) {
        drop(self.collected());
    }

    /// This has been written.
    pub fn written(&self, written: &Unwritten) {
        let now = self.now();
        self.collector().pending.written(written, now);
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        self.collector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collected(&self) -> MutexGuard<'_, Collector> {
        let mut collector = self.collector();
        collector.collect();
        collector.collect_lookups(self.cache.lookups(), self.now());
        collector
    }

    fn record(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        if self.records.capacity().is_multiple_of(CROWD) {
            self.crowded.notify_one();
        }
    }
}

impl Collector {
    fn collect(&mut self) {
        // No more than wait now, or a busy server would keep us here.
        for _ in 0..self.records.len() {
            let Ok(record) = self.records.try_recv() else { return };
            self.window.add(&record);
            self.pending.add(record);
        }
    }

    fn collect_lookups(&mut self, (hits, misses): ([u64; 4], [u64; 4]), now: SystemTime) {
        if (hits, misses) == (self.hits, self.misses) {
            return;
        }
        let since =
            |now: [u64; 4], then: [u64; 4]| std::array::from_fn(|at| now[at].saturating_sub(then[at]));
        let (new_hits, new_misses) = (since(hits, self.hits), since(misses, self.misses));
        self.pending.figures(now).lookups(new_hits, new_misses);
        self.window.lookups(Instant::now(), new_hits.iter().sum(), new_misses.iter().sum());
        (self.hits, self.misses) = (hits, misses);
    }
}

impl Sink for Rollups {
    fn request_ended(&self, observed: &Observed) {
        let outcome = observed.outcome();
        self.record(Record::Request(RequestRecord {
            method: observed.method,
            endpoint: observed.endpoint,
            status: observed.status,
            outcome,
            key: observed.key,
            duration: observed.duration,
            bytes_in: observed.bytes_in,
            bytes_out: observed.bytes_out,
            failure: failure(observed, outcome),
            ended: observed.ended,
            ended_at: observed.ended_at,
        }));
    }

    fn call_ended(&self, call: &Call) {
        self.record(Record::Call(Box::new(CallRecord {
            model: Arc::clone(&call.model),
            method: call.method,
            endpoint: call.endpoint,
            key: call.key,
            usage: call.usage,
            first_token: call.first_token,
            per_token: call.per_token(),
            failed: call.error.is_some_and(|error| error != LEFT),
            ended: call.ended,
            ended_at: call.ended_at,
        })));
    }
}

/// A client that left is no failure of the service.
fn failure(observed: &Observed, outcome: Outcome) -> Option<Box<FailureRecord>> {
    let failure = observed.error.as_ref().filter(|_| outcome != Outcome::Left)?;
    let since = observed.ended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Box::new(FailureRecord {
        at_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        request_id: observed.request_id().to_owned(),
        method: observed.method.to_owned(),
        path: observed.path.chars().take(PATH_CHARS).collect(),
        status: observed.status,
        kind: failure.kind.to_owned(),
        message: failure.message.clone(),
        stranger: outcome == Outcome::Stranger,
    }))
}

//! What has been observed, added up. Requests only put a record into a channel, which takes no lock;
//! whoever wants to know figures collects the records first.

mod window;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

pub use self::window::Recent;
use self::window::Window;
use super::{
    call::Call,
    observation::{Observed, Outcome},
    sink::Sink,
};
use crate::types::Usage;

/// Records that may wait to be collected, which happens several times a minute at least. More are
/// lost, and counted.
const WAITING: usize = 64 * 1024;

/// What figures are made of.
#[derive(Debug)]
enum Record {
    Request(RequestRecord),
    Call(CallRecord),
}

#[derive(Debug)]
struct RequestRecord {
    outcome: Outcome,
    duration: Duration,
    ended: Instant,
}

#[derive(Debug)]
struct CallRecord {
    usage: Option<Usage>,
    ended: Instant,
}

pub struct Rollups {
    records: mpsc::Sender<Record>,
    lost: AtomicU64,
    collector: Mutex<Collector>,
}

struct Collector {
    records: mpsc::Receiver<Record>,
    window: Window,
}

impl Default for Rollups {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let collector = Collector { records: receiver, window: Window::new(Instant::now()) };
        Self { records: sender, lost: AtomicU64::new(0), collector: Mutex::new(collector) }
    }
}

impl Rollups {
    /// What happened in the last `minutes`, an hour at most. All figures cover the same time.
    pub fn recent(&self, minutes: u64) -> Recent {
        self.recent_seconds(minutes.saturating_mul(60))
    }

    /// The same for seconds; the current second is not over yet.
    pub fn recent_seconds(&self, seconds: u64) -> Recent {
        self.collected().window.recent(Instant::now(), seconds)
    }

    /// Records that nobody collected in time, since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn collected(&self) -> MutexGuard<'_, Collector> {
        let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.collect();
        collector
    }

    fn record(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Collector {
    fn collect(&mut self) {
        while let Ok(record) = self.records.try_recv() {
            self.window.add(&record);
        }
    }
}

impl Sink for Rollups {
    fn request_ended(&self, observed: &Observed) {
        self.record(Record::Request(RequestRecord {
            outcome: observed.outcome(),
            duration: observed.duration,
            ended: observed.ended,
        }));
    }

    fn call_ended(&self, call: &Call) {
        self.record(Record::Call(CallRecord { usage: call.usage, ended: call.ended }));
    }
}

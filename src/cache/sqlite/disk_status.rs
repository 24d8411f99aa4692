//! How the disk of the embedded store stands: shared between requests, which read, and the writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    super::store::{CacheKey, EntryType},
    database::{Change, Contents},
    filter::Filter,
    readers::Readers,
};
use crate::{sqlite::Fault, types::PerType};

/// Timeout for reading from disk; then a request goes on without the cache.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause after a failure of the disk.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Whether the disk can be used, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Available,
    Full,
    Refused,
    Damaged,
    Silent,
}

impl Health {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Full => "the disk is full: new entries are kept in memory only",
            Self::Refused => "the disk cannot be written to: new entries are kept in memory only",
            Self::Damaged => "the file is damaged and cannot be replaced: entries are kept in memory only",
            Self::Silent => "the disk does not respond: entries are read from memory only",
        }
    }
}

impl From<Fault> for Health {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Damaged => Self::Damaged,
            Fault::Refused => Self::Refused,
        }
    }
}

/// Handles that reads need of the open file.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) readers: Arc<Readers>,
    /// None while nothing is known of what the file has.
    pub(super) filter: Option<Arc<Filter>>,
    /// The how-manieth opening this is: damage that is found late must not be blamed on the next file.
    pub(super) number: u64,
}

impl Opening {
    /// Whether it is worth asking the file for this key.
    pub(super) fn may_have(&self, key: &CacheKey) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_have(&key.hash))
    }
}

pub(super) struct DiskStatus {
    health: watch::Sender<Health>,
    opening: watch::Sender<Option<Opening>>,
    entries: PerType<AtomicI64>,
    /// The last number given to a use of an entry; never less than any in the file.
    uses: AtomicI64,
    pub(super) evictions: AtomicU64,
    pub(super) errors: AtomicU64,
    /// Bytes that wait to be written.
    pub(super) queued_bytes: AtomicU64,
    started: Instant,
    /// Milliseconds after `started` until which nothing is read.
    resting_until_ms: AtomicU64,
}

impl DiskStatus {
    pub(super) fn new() -> Self {
        Self {
            health: watch::Sender::new(Health::Available),
            opening: watch::Sender::new(None),
            entries: PerType::default(),
            uses: AtomicI64::new(0),
            evictions: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            started: Instant::now(),
            resting_until_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// Notes how the disk is, and says so once when that is news.
    pub(super) fn note(&self, now: Health, error: Option<&sqlx::Error>) {
        let news = self.health.send_if_modified(|health| std::mem::replace(health, now) != now);
        match (news, now, error) {
            (false, _, _) => {}
            (true, Health::Available, _) => tracing::info!("cache: the disk is available again"),
            (true, _, Some(error)) => tracing::warn!(%error, "cache: {}", now.words()),
            (true, _, None) => tracing::warn!("cache: {}", now.words()),
        }
    }

    /// The file to read from, unless the disk is better left alone now.
    pub(super) fn opening(&self) -> Option<Opening> {
        let resting = self.elapsed_ms() < self.resting_until_ms.load(Ordering::Relaxed);
        if resting { None } else { self.opening.borrow().clone() }
    }

    pub(super) fn set_opening(&self, opening: Option<Opening>) {
        self.opening.send_replace(opening);
    }

    /// A request has lost its patience with the disk: the next ones need not.
    pub(super) fn rest_from_reading(&self, error: Option<&sqlx::Error>) {
        let until = self.elapsed_ms() + RETRY_DELAY.as_millis() as u64;
        self.resting_until_ms.store(until, Ordering::Relaxed);
        // What the writer has found out says more.
        if self.health() == Health::Available {
            self.note(Health::Silent, error);
        }
    }

    pub(super) fn read_again(&self) {
        if self.health() == Health::Silent {
            self.note(Health::Available, None);
        }
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn next_use(&self) -> i64 {
        self.uses.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether an entry last used at `used` is old enough that using it again is worth a write:
    /// half of all entries have to be younger.
    pub(super) fn is_old(&self, used: i64) -> bool {
        let entries: u64 = self.entries().sum();
        let younger = self.uses.load(Ordering::Relaxed).saturating_sub(used);
        u64::try_from(younger).is_ok_and(|younger| younger > entries / 2)
    }

    /// Takes over what has been counted in the file.
    pub(super) fn opened(&self, contents: &Contents) {
        for (entry_type, entries) in contents.entries.iter() {
            self.entries[entry_type].store(entries.cast_signed(), Ordering::Relaxed);
        }
        self.uses.fetch_max(contents.last_use, Ordering::Relaxed);
    }

    /// Nothing of this kind is there any more.
    pub(super) fn cleared(&self, entry_type: EntryType) {
        self.entries[entry_type].store(0, Ordering::Relaxed);
    }

    pub(super) fn changed(&self, change: &Change) {
        for (entry_type, change) in change.entries.iter() {
            self.entries[entry_type].fetch_add(*change, Ordering::Relaxed);
        }
        self.evictions.fetch_add(change.evicted, Ordering::Relaxed);
    }

    /// Rows by kind, those included that are over and not yet removed.
    pub(super) fn entries(&self) -> PerType<u64> {
        PerType::new(|entry_type| {
            let count = self.entries[entry_type].load(Ordering::Relaxed);
            u64::try_from(count).unwrap_or(0)
        })
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

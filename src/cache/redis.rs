//! The Redis store: for replicas that share what they know. Redis holds the entries, this process's
//! memory copies of those it has used, and Redis tells of every change to them (RESP3 client-side
//! caching), so that a hot entry costs no journey and is still the same everywhere.
//!
//! - `redis/format.rs`: how an entry looks inside Redis
//! - `redis/target.rs`: which Redis a URL means
//! - `redis/connection.rs`, `redis/connection_state.rs`: talking to it; connecting, and the circuit breaker
//! - `redis/local_copies.rs`: the copies in memory; `redis/writes.rs`: what is still to be written
//! - `redis/keyspace.rs`: counting and clearing; `redis/clear_markers.rs`: how clears are noticed later
//! - `redis/status.rs`: words for the operator
//!
//! Guarantees, and their limits:
//!
//! - No fault of Redis is more than a miss. While it is away, memory goes on serving and new entries
//!   wait in a bounded queue; a request that finds Redis stalled loses 50 ms, the next ones nothing.
//! - A change by another replica is seen within the time its message takes. While a replica is cut
//!   off it serves the copies it has, also of entries that were cleared meanwhile; when it is
//!   connected again it drops them all, and what it made itself meanwhile if its kind was cleared.

mod clear_markers;
mod connection;
mod connection_state;
mod format;
mod keyspace;
mod local_copies;
mod status;
mod supervisor;
mod target;
mod writes;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{RedisError, RedisResult, cmd};
use tokio_util::task::AbortOnDropHandle;

pub use self::target::redis_url;
use self::{
    connection::{Connection, is_broken, with_timeout},
    connection_state::{ConnectionState, REQUEST_TIMEOUT, Session},
    format::{decode, name},
    keyspace::KeyspaceStats,
    local_copies::LocalCopies,
    status::{Activity, advice, describe},
    supervisor::Supervisor,
    target::Target,
    writes::Writes,
};
use super::{
    memory::entry_from_now,
    store::{CacheEntry, CacheKey, CacheStats, EntryType, Store},
};
use crate::{
    error::{Error, Kind, Result},
    value_parser::without_password,
};

/// Keys asked for in one `MGET`: more would hold up the requests that share the connection.
const KEYS_AT_ONCE: usize = 256;
/// Counting takes at most one part in so many of the time, however many keys there are.
const COUNT_TIME_SHARE: u32 = 20;
/// How long the statistics wait for a count before they show the last one.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the end waits for what is still to be written.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a check of the settings waits for Redis.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A store in a Redis or Valkey server, a cluster of them, or one that sentinels watch over.
pub struct Redis {
    connection_state: Arc<ConnectionState>,
    local_copies: Arc<LocalCopies>,
    writes: Arc<Writes>,
    /// Reads that Redis has not answered, or has refused.
    failed_reads: AtomicU64,
    counted: Mutex<Option<LastCount>>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

#[derive(Clone, Copy)]
struct LastCount {
    keyspace_stats: KeyspaceStats,
    at: Instant,
    took: Duration,
}

impl Redis {
    /// Starts connecting in the background, inside a Tokio runtime, and returns at once: Redis may
    /// be absent and come later. `memory_bytes` bounds the copies in this process's memory. The URL is
    /// one of:
    ///
    /// - `redis://[user][:password@]host[:port][/db]`, `rediss://` with TLS, `redis+unix:///path`;
    /// - a cluster: `redis+cluster://[user][:password@]host[:port],host[:port]…`, or a plain URL with
    ///   `?cluster=true` when one node is enough to find the others;
    /// - sentinels: `redis+sentinel://[user][:password@]host[:port],host[:port]…/master[/db]`. User and
    ///   password are the master's; the sentinels are offered the password too, and may have none. The
    ///   port is 26379 unless it is given;
    /// - `rediss+cluster://` and `rediss+sentinel://` with TLS to every server.
    ///
    /// TLS trusts the certificates the machine trusts, or those in the file `SSL_CERT_FILE` names.
    ///
    /// # Errors
    /// `Setup` when the URL cannot be read; the message does not repeat it.
    pub fn open(url: &str, memory_bytes: u64) -> Result<Self> {
        let target = Target::parse(url)?;
        let connection_state = Arc::new(ConnectionState::new());
        let local_copies = Arc::new(LocalCopies::new(memory_bytes));
        let writes = Arc::new(Writes::default());
        let supervisor = Supervisor {
            state: Arc::clone(&connection_state),
            target,
            local_copies: Arc::clone(&local_copies),
            writes: Arc::clone(&writes),
        };
        let write_out = Arc::clone(&writes).write_out(Arc::clone(&connection_state));
        let tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(supervisor.run())),
            AbortOnDropHandle::new(tokio::spawn(write_out)),
        ];
        Ok(Self {
            connection_state,
            local_copies,
            writes,
            failed_reads: AtomicU64::new(0),
            counted: Mutex::new(None),
            tasks: Mutex::new(tasks),
        })
    }

    /// Connects to Redis once and returns its URL without passwords. Waits for 2 s at most.
    ///
    /// # Errors
    /// `Setup` when Redis cannot be used.
    pub async fn check(url: &str) -> Result<String> {
        let target = Target::parse(url)?;
        let shown = without_password(url);
        match with_timeout(CHECK_TIMEOUT, Connection::open(&target, |_| {})).await {
            Ok(_) => Ok(shown),
            Err(error) => {
                let message = format!("{} ({shown}); {}.", describe(&error), advice(&error));
                // As text: its own text repeats its causes.
                Err(Error::new(Kind::Setup, message).with_source(error.to_string()))
            }
        }
    }

    /// Whether requests are kept from Redis because it does not respond.
    pub fn breaker_open(&self) -> bool {
        self.connection_state.is_down()
    }

    /// Asks Redis for some keys and keeps copies of what it has.
    async fn read(&self, session: &mut Session, keys: &[CacheKey]) -> RedisResult<Vec<Option<CacheEntry>>> {
        let marks: Vec<_> = keys.iter().map(|key| self.local_copies.mark(key)).collect();
        let mut mget = cmd("MGET");
        for key in keys {
            mget.arg(name(key));
        }
        let values: Vec<Option<Vec<u8>>> =
            with_timeout(REQUEST_TIMEOUT, session.connection.run(&mget)).await?;
        let now = SystemTime::now();
        let entries = keys.iter().zip(marks).zip(values).map(|((key, mark), value)| {
            let entry = decode(key, value?, now)?;
            self.local_copies.copy(*key, entry.clone(), mark);
            Some(entry)
        });
        Ok(entries.collect())
    }

    /// Takes a failed call for a miss, and keeps the next ones from failing like it.
    fn read_failed(&self, session: &Session, error: &RedisError) {
        self.failed_reads.fetch_add(1, Ordering::Relaxed);
        if is_broken(error) {
            self.connection_state.trip(session, error);
        } else {
            self.connection_state.status.trouble(Activity::Reading, describe(error), error);
        }
    }

    /// Returns what Redis holds, or held at the last successful count.
    async fn keyspace_stats(&self) -> KeyspaceStats {
        let last = self.last_count();
        if let Some(last) = last
            && last.at.elapsed() < last.took * COUNT_TIME_SHARE
        {
            return last.keyspace_stats;
        }
        let last = last.map(|last| last.keyspace_stats).unwrap_or_default();
        let Some(mut session) = self.connection_state.session().await else { return last };
        let started = Instant::now();
        let counting = async {
            self.writes.empty().await;
            keyspace::count(&mut session.connection).await
        };
        match with_timeout(COUNT_TIMEOUT, counting).await {
            Ok(keyspace_stats) => {
                self.note_count(Some(LastCount {
                    keyspace_stats,
                    at: Instant::now(),
                    took: started.elapsed(),
                }));
                keyspace_stats
            }
            Err(_) => {
                // Nor is it tried again at once: a count that takes too long would always do so.
                let at = Instant::now();
                self.note_count(Some(LastCount { keyspace_stats: last, at, took: started.elapsed() }));
                last
            }
        }
    }

    fn last_count(&self) -> Option<LastCount> {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_count(&self, counted: Option<LastCount>) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    }
}

#[async_trait]
impl Store for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    /// Waits for Redis for 50 ms and no longer; in a large batch for every 256 keys, as long as
    /// it answers.
    async fn get(&self, keys: &[CacheKey]) -> Vec<Option<CacheEntry>> {
        let mut found: Vec<Option<CacheEntry>> = keys.iter().map(|key| self.local_copies.get(key)).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
        if missing.is_empty() {
            return found;
        }
        let Some(mut session) = self.connection_state.session().await else { return found };
        for part in missing.chunks(KEYS_AT_ONCE) {
            let asked: Vec<CacheKey> = part.iter().map(|at| keys[*at]).collect();
            match self.read(&mut session, &asked).await {
                Ok(entries) => {
                    self.connection_state.status.well(Activity::Reading);
                    for (at, entry) in part.iter().zip(entries) {
                        found[*at] = entry;
                    }
                }
                Err(error) => {
                    self.read_failed(&session, &error);
                    break;
                }
            }
        }
        found
    }

    fn get_now(&self, key: &CacheKey) -> Option<CacheEntry> {
        self.local_copies.get(key)
    }

    fn put(&self, key: CacheKey, value: Bytes, ttl: Duration) {
        if let Some(entry) = entry_from_now(value, ttl) {
            self.local_copies.keep(key, entry.clone());
            self.writes.add(key, entry);
        }
    }

    async fn clear(&self, entry_type: Option<EntryType>) -> Result<u64> {
        let _turn = self.writes.turn.lock().await;
        self.writes.forget_all(entry_type);
        self.local_copies.forget_all(entry_type);
        self.note_count(None);
        let unsure = || {
            Error::new(
                Kind::Unavailable,
                "Redis cannot be reached: only the entries in this server's own memory were cleared.",
            )
            .retry_after(Duration::from_secs(2))
        };
        let mut session = self.connection_state.session().await.ok_or_else(unsure)?;
        // The marker first: a server that is disconnected and comes back in between has to see it.
        let removed =
            match self.connection_state.clear_markers.leave(&mut session.connection, entry_type).await {
                Ok(()) => keyspace::remove(&mut session.connection, entry_type).await,
                Err(error) => Err(error),
            };
        // Once more: copies may have been made of what was not removed yet, and of our own removals
        // Redis does not tell us. What was put meanwhile is kept.
        self.local_copies.forget_all(entry_type);
        self.writes.keep_all(&self.local_copies);
        removed.map_err(|error| {
            if is_broken(&error) {
                self.connection_state.trip(&session, &error);
            }
            unsure().with_source(error)
        })
    }

    async fn stats(&self) -> CacheStats {
        let keyspace_stats = self.keyspace_stats().await;
        CacheStats {
            entries: keyspace_stats.entries,
            memory_bytes: self.local_copies.bytes(),
            memory_peak_bytes: self.local_copies.peak_bytes(),
            stored_bytes: keyspace_stats.bytes,
            evictions: self.writes.dropped.load(Ordering::Relaxed),
            errors: self.failed_reads.load(Ordering::Relaxed) + self.writes.failed.load(Ordering::Relaxed),
            status: self.connection_state.status.text().to_owned(),
        }
    }

    async fn stop(&self) {
        // What Redis does not take in this time is only missed later.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.writes.empty()).await;
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

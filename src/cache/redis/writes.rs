//! Write queue for Redis. A request leaves its entry here and goes on; one task
//! writes, many entries at a time, and waits while Redis is away. What does not fit is not written:
//! it is in memory here, and only missed by other replicas.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use redis::{Cmd, RedisResult, Value, cmd};
use tokio::sync::Notify;

use super::{
    connection::{BACKGROUND_TIMEOUT, is_broken, with_timeout},
    connection_state::{ConnectionState, Session},
    format::{encode, name},
    local_copies::LocalCopies,
    status::{Activity, describe},
};
use crate::cache::store::{CacheEntry, CacheKey, EntryType};

/// Size of the queue: some thousand entries while Redis is away for a moment.
const MAX_BYTES: usize = 16 << 20;
/// Bytes of an entry besides its value: its key, its times, its place in the queue.
const ENTRY_OVERHEAD_BYTES: usize = 128;
/// Limits of one pipeline: small enough not to hold up the requests on the same connection.
const BATCH_ENTRIES: usize = 128;
const BATCH_BYTES: usize = 1 << 20;
/// Attempts for each entry: one that fails twice may be the cause.
const TRY_LIMIT: u8 = 2;

#[derive(Default)]
pub(super) struct Writes {
    queue: Mutex<Queue>,
    added: Notify,
    emptied: Notify,
    /// Held while a batch is under way, and while a kind is cleared: else an entry from before the
    /// clear could arrive after it.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Entries that found no room, here or in Redis.
    pub(super) dropped: AtomicU64,
    /// Entries whose writing failed for another reason.
    pub(super) failed: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

struct Waiting {
    key: CacheKey,
    entry: CacheEntry,
    tries: u8,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.entry.value.len() + ENTRY_OVERHEAD_BYTES
    }
}

impl Writes {
    pub(super) fn add(&self, key: CacheKey, entry: CacheEntry) {
        let mut queue = self.queue();
        let waiting = Waiting { key, entry, tries: 0 };
        if queue.bytes + waiting.bytes() > MAX_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += waiting.bytes();
        queue.waiting.push_back(waiting);
        drop(queue);
        self.added.notify_one();
    }

    /// Puts what is still to be written into memory again, where everything has just been forgotten.
    pub(super) fn keep_all(&self, local_copies: &LocalCopies) {
        for waiting in &self.queue().waiting {
            local_copies.keep(waiting.key, waiting.entry.clone());
        }
    }

    /// Leaves out one kind, or everything. The caller holds the `turn`.
    pub(super) fn forget_all(&self, entry_type: Option<EntryType>) {
        let mut queue = self.queue();
        queue
            .waiting
            .retain(|waiting| entry_type.is_some_and(|entry_type| entry_type != waiting.key.entry_type));
        queue.bytes = queue.waiting.iter().map(Waiting::bytes).sum();
    }

    /// Waits until nothing is left to write.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.queue().waiting.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Writes what comes, for ever.
    pub(super) async fn write_out(self: Arc<Self>, connection_state: Arc<ConnectionState>) {
        loop {
            let added = self.added.notified();
            if self.queue().waiting.is_empty() {
                self.emptied.notify_waiters();
                added.await;
                continue;
            }
            let session = connection_state.up().await;
            let _turn = self.turn.lock().await;
            self.write_batch(&connection_state, session).await;
        }
    }

    /// The entries stay in the queue until Redis has them, so that `keep_all` finds them.
    async fn write_batch(&self, connection_state: &ConnectionState, mut session: Session) {
        let (count, commands) = self.batch(SystemTime::now());
        match with_timeout(BACKGROUND_TIMEOUT, session.connection.run_all(commands)).await {
            Ok(results) => {
                self.done(count);
                self.judge(connection_state, &results);
            }
            Err(error) if is_broken(&error) => {
                self.failed_once(count);
                connection_state.trip(&session, &error);
            }
            Err(error) => {
                self.done(count);
                self.failed.fetch_add(count as u64, Ordering::Relaxed);
                connection_state.status.trouble(Activity::Writing, describe(&error), &error);
            }
        }
    }

    /// How many entries from the front, and their commands; those that have expired have none.
    fn batch(&self, now: SystemTime) -> (usize, Vec<Cmd>) {
        let queue = self.queue();
        let mut bytes = 0;
        let mut commands = Vec::new();
        let mut count = 0;
        for waiting in queue.waiting.iter().take(BATCH_ENTRIES) {
            bytes += waiting.bytes();
            if count > 0 && bytes > BATCH_BYTES {
                break;
            }
            count += 1;
            commands.extend(set(waiting, now));
        }
        (count, commands)
    }

    fn judge(&self, connection_state: &ConnectionState, results: &[RedisResult<Value>]) {
        let mut worst = None;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            let full = error.code() == Some("OOM");
            let counter = if full { &self.dropped } else { &self.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            worst = Some(error);
        }
        match worst {
            Some(error) => connection_state.status.trouble(Activity::Writing, describe(error), error),
            None if !results.is_empty() => connection_state.status.well(Activity::Writing),
            None => {}
        }
    }

    fn done(&self, count: usize) {
        let mut queue = self.queue();
        let freed: usize = queue.waiting.drain(..count).map(|waiting| waiting.bytes()).sum();
        queue.bytes -= freed;
    }

    fn failed_once(&self, count: usize) {
        let mut queue = self.queue();
        for waiting in queue.waiting.iter_mut().take(count) {
            waiting.tries += 1;
        }
        let before = queue.waiting.len();
        queue.waiting.retain(|waiting| waiting.tries < TRY_LIMIT);
        queue.bytes = queue.waiting.iter().map(Waiting::bytes).sum();
        self.failed.fetch_add((before - queue.waiting.len()) as u64, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics between two of its changes.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(waiting: &Waiting, now: SystemTime) -> Option<Cmd> {
    let left = waiting.entry.expires_at.duration_since(now).ok()?.as_millis();
    let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
    let mut set = cmd("SET");
    set.arg(name(&waiting.key)).arg(encode(&waiting.key, &waiting.entry)).arg("PX").arg(left);
    Some(set)
}

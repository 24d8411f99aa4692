//! The one task that writes to the embedded store's file: in batches, in the order of the queue,
//! and with a new start after every failure. No request ever waits for it but a clear.

use std::{
    fmt::Display,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, sleep_until, timeout_at},
};

use super::{
    super::{
        memory::ENTRY_OVERHEAD_BYTES,
        store::{CacheEntry, CacheKey, EntryType},
    },
    database::{Batch, Contents, Database},
    disk_status::{DiskStatus, Health, Opening, RETRY_DELAY},
    file::{DatabaseFile, Opened},
    filter::Filters,
};
use crate::sqlite::Fault;

/// Time for which a batch collects entries.
pub(super) const BATCH_WINDOW: Duration = Duration::from_millis(5);

/// The most entries of one transaction.
const BATCH_ENTRIES: usize = 256;

/// Job for the writer.
pub(super) enum Job {
    Write(CacheKey, CacheEntry),
    /// These rows were read and are to stay longer.
    Used(Vec<i64>),
    Clear(Clear),
    /// A reader of this opening of the file has found it damaged.
    Damaged(u64),
    Stop(oneshot::Sender<()>),
}

pub(super) struct Clear {
    pub(super) entry_type: Option<EntryType>,
    /// Keys that were in memory: the count is of distinct entries.
    pub(super) from_memory: Vec<CacheKey>,
    pub(super) reply: oneshot::Sender<sqlx::Result<u64>>,
}

impl Job {
    /// Bytes that the job counts towards the queue's limit.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Write(_, entry) => entry.value.len() as u64 + ENTRY_OVERHEAD_BYTES,
            // Little memory, but as much work as a small entry.
            Self::Used(ids) => ids.len() as u64 * ENTRY_OVERHEAD_BYTES,
            Self::Clear(_) | Self::Damaged(_) | Self::Stop(_) => 0,
        }
    }
}

pub(super) struct Writer {
    pub(super) jobs: mpsc::UnboundedReceiver<Job>,
    file: Arc<DatabaseFile>,
    pub(super) disk_status: Arc<DiskStatus>,
    pub(super) database: Option<Database>,
    /// Of the keys in the open file.
    pub(super) filters: Filters,
    opening: u64,
    /// The batch that failed. It is tried again, and its success is how the disk proves itself.
    held: Option<Batch>,
    /// When the disk, having failed, may be tried again.
    pub(super) rest_until: Instant,
    pub(super) next_upkeep: Instant,
}

impl Writer {
    /// A writer for a file that may have been opened already, and the error when it was tried.
    pub(super) async fn new(
        jobs: mpsc::UnboundedReceiver<Job>,
        file: Arc<DatabaseFile>,
        disk_status: Arc<DiskStatus>,
        opened: sqlx::Result<Opened>,
    ) -> Self {
        let now = Instant::now();
        let mut writer = Self {
            jobs,
            file,
            disk_status,
            database: None,
            filters: Filters::default(),
            opening: 0,
            held: None,
            rest_until: now,
            next_upkeep: now,
        };
        match opened {
            Ok(opened) => writer.install(opened),
            Err(error) => writer.failed(&error).await,
        }
        writer
    }

    /// Runs until it is stopped, or until its queue is closed.
    pub(super) async fn run(mut self) {
        let mut waiting = None;
        loop {
            let job = match waiting.take() {
                Some(job) => Some(job),
                None => tokio::select! {
                    job = self.jobs.recv() => job,
                    () = sleep_until(self.next_upkeep) => {
                        self.upkeep().await;
                        continue;
                    }
                },
            };
            match job {
                Some(job @ (Job::Write(..) | Job::Used(_))) => waiting = self.write_with_others(job).await,
                Some(Job::Clear(clear)) => {
                    let cleared = self.clear(clear.entry_type, &clear.from_memory).await;
                    // The caller may be gone; the clear happens all the same.
                    let _ = clear.reply.send(cleared);
                }
                Some(Job::Damaged(opening)) => {
                    if opening == self.opening && self.database.is_some() {
                        self.replace_damaged(&"a read failed").await;
                    }
                }
                Some(Job::Stop(done)) => {
                    self.close().await;
                    // The caller may have timed out.
                    let _ = done.send(());
                    return;
                }
                None => return self.close().await,
            }
        }
    }

    /// Writes the job with those that come within a few milliseconds; gives the job of another sort
    /// that came between.
    async fn write_with_others(&mut self, first: Job) -> Option<Job> {
        let deadline = Instant::now() + BATCH_WINDOW;
        let mut batch = Batch::default();
        let mut next = Some(first);
        let interrupted = loop {
            batch.bytes += next.as_ref().map_or(0, Job::bytes);
            match next {
                Some(Job::Write(key, entry)) => batch.entries.push((key, entry)),
                Some(Job::Used(ids)) => batch.used.extend(ids),
                other => break other,
            }
            if batch.entries.len() >= BATCH_ENTRIES || batch.bytes >= self.file.batch_bytes() {
                break None;
            }
            next = timeout_at(deadline, self.jobs.recv()).await.ok().flatten();
        };
        let bytes = batch.bytes;
        self.write(batch).await;
        self.disk_status.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        interrupted
    }

    /// Writes a batch, or keeps it for later if it is the first one to fail. While the disk rests,
    /// batches are dropped: memory has their entries.
    async fn write(&mut self, batch: Batch) {
        if !self.recovered().await {
            self.disk_status.failed();
            return;
        }
        if let Err(error) = self.try_write(&batch).await {
            self.held = Some(batch);
            self.failed(&error).await;
        }
    }

    async fn try_write(&mut self, batch: &Batch) -> sqlx::Result<()> {
        let Some(database) = &mut self.database else { return Err(sqlx::Error::PoolClosed) };
        let disk_status = &self.disk_status;
        // Before they are there: a key that is there and not in the filter would never be found.
        batch.entries.iter().for_each(|(key, _)| self.filters.add(&key.hash));
        if self.filters.are_wanting() {
            self.next_upkeep = Instant::now();
        }
        let change = database.write(batch, || disk_status.next_use()).await?;
        self.disk_status.changed(&change);
        Ok(())
    }

    /// Whether the disk may be written to; after a failure and a rest it is tried anew.
    pub(super) async fn recovered(&mut self) -> bool {
        let well = matches!(self.disk_status.health(), Health::Available | Health::Silent);
        if well && self.database.is_some() && self.held.is_none() {
            return true;
        }
        if Instant::now() < self.rest_until {
            return false;
        }
        match self.start_anew().await {
            Ok(()) => self.disk_status.note(Health::Available, None),
            Err(error) => self.failed(&error).await,
        }
        self.database.is_some() && self.held.is_none()
    }

    async fn start_anew(&mut self) -> sqlx::Result<()> {
        match &mut self.database {
            Some(database) => database.reconnect().await?,
            None => self.open_file().await?,
        }
        if let Some(batch) = self.held.take() {
            let written = self.try_write(&batch).await;
            if written.is_err() {
                self.held = Some(batch);
            }
            written?;
        }
        Ok(())
    }

    /// Counts and reports a failure, and leaves the disk alone for a while.
    pub(super) async fn failed(&mut self, error: &sqlx::Error) {
        self.disk_status.failed();
        self.rest_until = Instant::now() + RETRY_DELAY;
        self.next_upkeep = self.next_upkeep.min(self.rest_until);
        let fault = Fault::of(error);
        if fault == Fault::Damaged && self.database.is_some() {
            self.replace_damaged(error).await;
        } else {
            self.disk_status.note(fault.into(), Some(error));
        }
    }

    /// Sets the open file aside and goes on with an empty one.
    async fn replace_damaged(&mut self, why: &(dyn Display + Sync)) {
        self.close_file().await;
        let replaced = match self.file.sqlite.set_aside(why).await {
            Ok(()) => self.open_file().await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = replaced {
            self.rest_until = Instant::now() + RETRY_DELAY;
            self.next_upkeep = self.rest_until;
            self.disk_status.note(Health::Damaged, Some(&error));
        }
    }

    async fn clear(&mut self, entry_type: Option<EntryType>, from_memory: &[CacheKey]) -> sqlx::Result<u64> {
        let cleared = match entry_type {
            Some(entry_type) => self.clear_kind(entry_type, from_memory).await,
            None => self.clear_all(from_memory).await,
        };
        if let Err(error) = &cleared {
            self.failed(error).await;
        }
        cleared
    }

    async fn clear_kind(&mut self, entry_type: EntryType, from_memory: &[CacheKey]) -> sqlx::Result<u64> {
        if let Some(held) = &mut self.held {
            held.entries.retain(|(key, _)| key.entry_type != entry_type);
        }
        if self.database.is_none() {
            self.open_file().await?;
        }
        let Some(database) = &mut self.database else { return Err(sqlx::Error::PoolClosed) };
        let count = database.count_distinct(&[entry_type], from_memory).await?;
        database.clear(entry_type).await?;
        self.disk_status.cleared(entry_type);
        // The rows are removed and the file is made smaller without making anyone wait.
        self.next_upkeep = Instant::now();
        Ok(count)
    }

    /// A new file instead of a million deletions: it also works on a full disk and with a damaged
    /// file, which is when an operator clears everything.
    async fn clear_all(&mut self, from_memory: &[CacheKey]) -> sqlx::Result<u64> {
        self.held = None;
        if self.database.is_none()
            && let Err(error) = self.open_file().await
        {
            tracing::debug!(%error, "the cache file cannot be opened to count its entries; removing it");
        }
        let counted = match &mut self.database {
            Some(database) => database.count_distinct(&EntryType::ALL, from_memory).await.ok(),
            None => None,
        };
        let count = counted.unwrap_or(from_memory.len() as u64);
        self.close_file().await;
        self.file.sqlite.remove().await?;
        if let Err(error) = self.open_file().await {
            self.failed(&error).await;
        }
        Ok(count)
    }

    async fn open_file(&mut self) -> sqlx::Result<()> {
        let opened = self.file.open().await?;
        self.install(opened);
        Ok(())
    }

    /// Takes a file into use, for reading too.
    fn install(&mut self, Opened { database, contents }: Opened) {
        self.opening += 1;
        self.disk_status.opened(&contents);
        self.filters = Filters::of_file(contents.entries.sum());
        self.next_upkeep = Instant::now();
        self.database = Some(database);
        self.publish();
    }

    /// Tells readers of the open file.
    pub(super) fn publish(&self) {
        self.disk_status.set_opening(self.database.as_ref().map(|database| Opening {
            readers: Arc::clone(&database.readers),
            filter: self.filters.current().cloned(),
            number: self.opening,
        }));
    }

    async fn close_file(&mut self) {
        self.disk_status.set_opening(None);
        if let Some(database) = self.database.take()
            && let Err(error) = database.close().await
        {
            tracing::debug!(%error, "closing the cache file failed");
        }
        self.disk_status.opened(&Contents::default());
    }

    /// One more attempt for what is held, then the end.
    async fn close(&mut self) {
        if let Some(batch) = self.held.take()
            && let Err(error) = self.try_write(&batch).await
        {
            tracing::debug!(%error, "some cache entries could not be written before shutdown");
        }
        self.close_file().await;
    }
}

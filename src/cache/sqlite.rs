//! Embedded store: entries in memory over a SQLite table in a file of its own. Requests read; one task writes,
//! so that no request waits for the disk. The disk may be missing, full, damaged or hanging: memory then serves
//! alone, `stats` has the reason, and the disk is tried again every second.
//!
//! How it behaves at its bounds: memory lets go of what was not used for the longest, and so does
//! the file. A read from the file counts as a use; one from memory does not, for it would cost the
//! hot path a write. Clocks: see `memory::is_fresh`.

mod database;
mod disk_status;
mod file;
mod filter;
mod lookup;
mod readers;
mod rows;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    disk_status::{DiskStatus, Health, READ_TIMEOUT},
    file::{DatabaseFile, Opened},
    rows::Found,
    writer::{Clear, Job, Writer},
};
use super::{
    memory::{Memory, entry_from_now, is_fresh},
    store::{CacheEntry, CacheKey, CacheStats, EntryType, Store},
};
use crate::{
    error::{Error, Kind, Result},
    sqlite::Fault,
};

/// How long a clear waits for the disk, which first has to take what is queued.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stop waits for the queue to be written.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The embedded store.
pub struct Sqlite {
    memory: Arc<Memory>,
    disk: Option<Disk>,
}

/// The way to the file and its writer.
struct Disk {
    file: Arc<DatabaseFile>,
    jobs: mpsc::UnboundedSender<Job>,
    disk_status: Arc<DiskStatus>,
    /// The most that may wait to be written.
    queue_bytes: u64,
}

impl Sqlite {
    /// Opens the store in `folder`, which is made when it is missing. `memory_bytes` and
    /// `disk_bytes` are upper bounds; without `disk_bytes` there is no file, and one that is there
    /// is removed, for a clear would not reach it. A damaged file is set aside; one that cannot be
    /// opened, on a full disk for instance, is tried again later.
    ///
    /// # Errors
    /// `Setup` when there is to be no file and one that is there cannot be removed.
    pub async fn open(folder: &Path, memory_bytes: u64, disk_bytes: u64) -> Result<Self> {
        let setup = |source: std::io::Error| {
            let message = format!("The cache's folder {} cannot be used.", folder.display());
            Error::new(Kind::Setup, message).with_source(source)
        };
        let file = DatabaseFile::new(folder, disk_bytes);
        if disk_bytes == 0 {
            file.sqlite.remove().await.map_err(setup)?;
            return Ok(Self { memory: Arc::new(Memory::new(memory_bytes)), disk: None });
        }
        let opened = file.open().await;
        Ok(Self::over(file, opened, memory_bytes).await)
    }

    async fn over(file: DatabaseFile, opened: sqlx::Result<Opened>, memory_bytes: u64) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (file, disk_status) = (Arc::new(file), Arc::new(DiskStatus::new()));
        let writer = Writer::new(queue, Arc::clone(&file), Arc::clone(&disk_status), opened).await;
        tokio::spawn(writer.run());
        // What waits is also in memory; when it is at most a quarter of it, it is written before it
        // leaves there.
        let queue_bytes = (memory_bytes / 4).clamp(1 << 20, 64 << 20);
        let disk = Some(Disk { file, jobs, disk_status, queue_bytes });
        Self { memory: Arc::new(Memory::new(memory_bytes)), disk }
    }

    fn put_entry(&self, key: CacheKey, entry: CacheEntry) {
        self.memory.insert(&key, entry.clone());
        if let Some(disk) = &self.disk {
            disk.put(key, entry);
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn get(&self, keys: &[CacheKey]) -> Vec<Option<CacheEntry>> {
        let mut entries: Vec<Option<CacheEntry>> = keys.iter().map(|key| self.memory.get(key)).collect();
        let Some(disk) = &self.disk else { return entries };
        let missing = || keys.iter().zip(&entries).filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key);
        let wanted: Vec<CacheKey> = missing().collect();
        if wanted.is_empty() {
            return entries;
        }
        let reading = self.memory.before_reading();
        let found = disk.read(&wanted).await;
        for (key, entry) in &found {
            self.memory.promote(&reading, key, entry.clone());
        }
        for (key, entry) in keys.iter().zip(&mut entries) {
            if entry.is_none() {
                *entry = found.get(key).cloned();
            }
        }
        entries
    }

    fn get_now(&self, key: &CacheKey) -> Option<CacheEntry> {
        self.memory.get(key)
    }

    fn put(&self, key: CacheKey, value: Bytes, ttl: Duration) {
        if let Some(entry) = entry_from_now(value, ttl) {
            self.put_entry(key, entry);
        }
    }

    async fn clear(&self, entry_type: Option<EntryType>) -> Result<u64> {
        let unsure = |source: Box<dyn std::error::Error + Send + Sync>| {
            let message = "The cache was cleared in memory, but its file could not be; try again later.";
            Error::new(Kind::Unavailable, message).with_source(source)
        };
        // Held to the end: a request that is reading the file now must not bring an entry back.
        let clearing = self.memory.start_clearing(entry_type);
        let memory = Arc::clone(&self.memory);
        let swept = tokio::task::spawn_blocking(move || memory.sweep()).await;
        let from_memory = swept.map_err(|error| unsure(error.into()))?;
        let Some(disk) = &self.disk else { return Ok(from_memory.len() as u64) };
        let (reply, cleared) = oneshot::channel();
        // Without a writer the reply is dropped, which is reported below.
        let _ = disk.jobs.send(Job::Clear(Clear { entry_type, from_memory, reply }));
        let removed = timeout(CLEAR_TIMEOUT, cleared).await.map_err(|error| unsure(error.into()))?;
        let removed = removed.map_err(|error| unsure(error.into()))?;
        drop(clearing);
        removed.map_err(|error| unsure(error.into()))
    }

    /// Entries are those of the file or of memory, whichever has more: a file that works has all.
    async fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            entries: self.memory.entries(),
            memory_bytes: self.memory.bytes(),
            memory_peak_bytes: self.memory.peak_bytes(),
            evictions: self.memory.evictions(),
            status: "available".to_owned(),
            ..CacheStats::default()
        };
        if let Some(disk) = &self.disk {
            for (entry_type, on_disk) in disk.disk_status.entries().iter() {
                stats.entries[entry_type] = stats.entries[entry_type].max(*on_disk);
            }
            // What leaves memory is still in the file.
            stats.evictions = disk.disk_status.evictions.load(Ordering::Relaxed);
            stats.errors = disk.disk_status.errors.load(Ordering::Relaxed);
            stats.stored_bytes = disk.file.sqlite.file.bytes().await;
            disk.disk_status.health().words().clone_into(&mut stats.status);
        }
        stats
    }

    async fn stop(&self) {
        let Some(disk) = &self.disk else { return };
        let (done, stopped) = oneshot::channel();
        // A writer that has already stopped drops the sender, and there is nothing to wait for.
        let _ = disk.jobs.send(Job::Stop(done));
        if timeout(STOP_TIMEOUT, stopped).await.is_err() {
            tracing::warn!(
                queued_bytes = disk.disk_status.queued_bytes.load(Ordering::Relaxed),
                "the cache could not be written in time; the newest entries are lost"
            );
        }
    }
}

impl Disk {
    /// Queues a write. What does not fit, because the disk is slower than the answers come, counts
    /// as evicted and is in memory only.
    fn put(&self, key: CacheKey, entry: CacheEntry) {
        let fits = entry.value.len() as u64 <= self.file.largest_entry_bytes();
        if !fits || !self.queue(Job::Write(key, entry)) {
            self.disk_status.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there was room for the job.
    fn queue(&self, job: Job) -> bool {
        let bytes = job.bytes();
        let queued = self.disk_status.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > self.queue_bytes {
            self.disk_status.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.jobs.send(job).is_ok()
    }

    /// Reads the entries of these keys that may be served now.
    async fn read(&self, keys: &[CacheKey]) -> HashMap<CacheKey, CacheEntry> {
        let Some(opening) = self.disk_status.opening() else { return HashMap::new() };
        // A file that has been silent is asked in any case, so that it is noticed when it answers.
        let silent = self.disk_status.health() == Health::Silent;
        let keys: Vec<CacheKey> =
            keys.iter().filter(|key| silent || opening.may_have(key)).copied().collect();
        if keys.is_empty() {
            return HashMap::new();
        }
        match timeout(READ_TIMEOUT, opening.readers.read(&keys)).await {
            Ok(Ok(found)) => {
                self.disk_status.read_again();
                self.sort(found)
            }
            // Closed to be replaced: a miss, and no fault.
            Ok(Err(sqlx::Error::PoolClosed)) => HashMap::new(),
            Ok(Err(error)) => {
                self.disk_status.failed();
                if Fault::of(&error) == Fault::Damaged {
                    // Without a writer the store is stopping, and the next start finds the damage.
                    let _ = self.jobs.send(Job::Damaged(opening.number));
                } else {
                    self.disk_status.rest_from_reading(Some(&error));
                }
                HashMap::new()
            }
            Err(_) => {
                self.disk_status.failed();
                self.disk_status.rest_from_reading(None);
                HashMap::new()
            }
        }
    }

    /// Keeps what may be served, and has the rows that are in danger of eviction marked as used.
    fn sort(&self, found: Vec<Found>) -> HashMap<CacheKey, CacheEntry> {
        let now = SystemTime::now();
        let mut entries = HashMap::with_capacity(found.len());
        let mut used = Vec::new();
        for Found { id, used: last_use, key, entry } in found {
            let Some(entry) = entry else {
                self.disk_status.failed();
                continue;
            };
            if is_fresh(&entry, now) {
                if self.disk_status.is_old(last_use) {
                    used.push(id);
                }
                entries.insert(key, entry);
            }
        }
        // Only while little waits: without it the rows stay where they are in the order, and with it a
        // disk that is read a lot would be written to as much, and a clear would wait for that.
        if !used.is_empty() && self.disk_status.queued_bytes.load(Ordering::Relaxed) < self.queue_bytes / 16 {
            self.queue(Job::Used(used));
        }
        entries
    }
}

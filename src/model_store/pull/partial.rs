//! The file that a blob is downloaded to, with a record of its finished ranges beside it. The file is locked, so
//! that two processes never write to it, and becomes the blob by a rename.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::ranges::{Part, Ranges};
use crate::{
    files,
    model_store::{
        blobs::{PARTIAL, is_without_locks, sync_folder, write_whole},
        digest::Digest,
        lock,
    },
};

/// A record of the largest blobs has about 100 kB.
const MAX_RECORD: u64 = 1 << 24;

pub(super) struct Partial {
    path: PathBuf,
    /// Final path of the blob.
    blob: PathBuf,
    file: File,
    state: Mutex<State>,
    /// Notified when the state changes.
    changed: Condvar,
    record: Mutex<RecordState>,
}

/// The record on the disk.
enum RecordState {
    /// Bytes that it lists as finished.
    Saved(u64),
    /// The file is complete or discarded, and the record is not to come back.
    Removed,
}

struct State {
    ranges: Ranges,
    /// Whether the download has stopped.
    is_closed: bool,
}

impl Partial {
    /// Opens the partial file of a blob, a new one if there is none. `None` while another process, or another
    /// download of this one, has it.
    pub(super) fn open(blobs: &Path, digest: &Digest, size: u64) -> io::Result<Option<Self>> {
        let path = blobs.join(format!("{PARTIAL}{}", digest.hex()));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        loop {
            let file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if is_without_locks(&error) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The process that held the lock may just have renamed the file.
            let found = fs::symlink_metadata(&path);
            if !found.is_ok_and(|found| found.ino() == file.metadata().map_or(0, |file| file.ino())) {
                continue;
            }
            let ranges = recorded(&record_path(&path), size, file.metadata()?.len());
            let ranges = match ranges {
                Some(ranges) => ranges,
                None => {
                    file.set_len(0)?;
                    Ranges::new(size)
                }
            };
            let state = Mutex::new(State { ranges, is_closed: false });
            let blob = blobs.join(digest.blob_name());
            return Ok(Some(Self {
                path,
                blob,
                file,
                state,
                changed: Condvar::new(),
                record: Mutex::new(RecordState::Saved(0)),
            }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn claim(&self) -> Option<Part> {
        self.state().ranges.claim()
    }

    pub(super) fn release(&self, part: Part) {
        self.state().ranges.release(part.index);
    }

    /// Missing end of a part, as it is now.
    pub(super) fn part(&self, index: usize) -> Part {
        self.state().ranges.part(index)
    }

    pub(super) fn completed(&self) -> u64 {
        self.state().ranges.completed()
    }

    /// Writes bytes of the blob. Blocks.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        self.state().ranges.fill(at, at + bytes.len() as u64);
        self.changed.notify_all();
        Ok(())
    }

    /// Writes the record if it has changed, after the bytes that it lists have been synced to disk. Blocks.
    pub(super) fn save(&self) -> io::Result<()> {
        let mut state = lock(&self.record);
        let (record, completed) = {
            let ranges = &self.state().ranges;
            (ranges.record(), ranges.completed())
        };
        if matches!(*state, RecordState::Saved(saved) if saved < completed) {
            self.file.sync_data()?;
            write_whole(&record_path(&self.path), &serde_json::to_vec(&record)?)?;
            *state = RecordState::Saved(completed);
        }
        Ok(())
    }

    /// Turns the complete file into the blob. Blocks.
    pub(super) fn publish(&self) -> io::Result<()> {
        self.file.sync_all()?;
        self.remove_record()?;
        fs::rename(&self.path, &self.blob)?;
        sync_folder(self.blob.parent().unwrap_or(Path::new(".")))
    }

    /// Removes the file and its record. Blocks.
    pub(super) fn discard(&self) -> io::Result<()> {
        self.remove_record()?;
        remove(&self.path)
    }

    fn remove_record(&self) -> io::Result<()> {
        let mut state = lock(&self.record);
        *state = RecordState::Removed;
        remove(&record_path(&self.path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes readers that wait for bytes fail.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }
}

/// Reads a partial file from its start while it is written. Blocks until the next bytes are there.
pub(super) struct Follower {
    partial: Arc<Partial>,
    at: u64,
}

impl Follower {
    pub(super) fn new(partial: Arc<Partial>) -> Self {
        Self { partial, at: 0 }
    }

    /// Waits for the next bytes; `None` at the end of the blob.
    fn available(&self) -> io::Result<Option<u64>> {
        let mut state = self.partial.state();
        loop {
            let prefix = state.ranges.prefix();
            if prefix > self.at {
                return Ok(Some(prefix - self.at));
            }
            if self.at == state.ranges.size() {
                return Ok(None);
            }
            if state.is_closed {
                return Err(io::Error::other("the download has stopped"));
            }
            state = self.partial.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(available) = self.available()? else { return Ok(0) };
        let len = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let read = self.partial.file.read_at(&mut buffer[..len], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// Bytes on the disk of a blob's partial file.
pub(super) fn bytes_on_disk(blobs: &Path, digest: &Digest) -> u64 {
    fs::metadata(blobs.join(format!("{PARTIAL}{}", digest.hex()))).map_or(0, |file| file.blocks() * 512)
}

fn record_path(partial: &Path) -> PathBuf {
    partial.with_extension("json")
}

fn recorded(path: &Path, size: u64, file_len: u64) -> Option<Ranges> {
    // Without a valid record the download starts again.
    let bytes = files::read(path, MAX_RECORD).ok()?;
    Ranges::resumed(serde_json::from_slice(&bytes).ok()?, size, file_len)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

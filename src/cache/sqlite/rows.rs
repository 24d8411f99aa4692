//! How an entry stands in a row of the embedded store's file, and how it is read back: with
//! suspicion, for the disk may have changed it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use sqlx::{Row, sqlite::SqliteRow};

use super::super::store::{CacheEntry, CacheKey, EntryType};

/// Columns that `read_row` reads, in its order.
pub(super) const COLUMNS: &str = "id, kind, hash, stored_at_ms, expires_at_ms, used, checksum, value";

/// An entry that was read.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) used: i64,
    pub(super) key: CacheKey,
    /// `None` when its checksum is wrong.
    pub(super) entry: Option<CacheEntry>,
}

/// Reads the columns of `COLUMNS`.
pub(super) fn read_row(row: &SqliteRow) -> sqlx::Result<Found> {
    let hash = row.try_get::<&[u8], _>(2)?;
    let hash = hash.try_into().map_err(|_| damaged("a hash of another length"))?;
    let key = CacheKey { entry_type: read_kind(row, 1)?, hash };
    let time = |column| {
        let millis =
            u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| damaged("a time before 1970"))?;
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        time.ok_or_else(|| damaged("a time beyond the calendar"))
    };
    let value = row.try_get::<Vec<u8>, _>(7)?;
    let entry = CacheEntry { value: Bytes::from(value), stored_at: time(3)?, expires_at: time(4)? };
    let whole = checksum(&key, &entry)[..] == *row.try_get::<&[u8], _>(6)?;
    Ok(Found { id: row.try_get(0)?, used: row.try_get(5)?, key, entry: whole.then_some(entry) })
}

pub(super) fn read_kind(row: &SqliteRow, column: usize) -> sqlx::Result<EntryType> {
    let number = row.try_get::<i64, _>(column)?;
    let entry_type = EntryType::ALL.into_iter().find(|entry_type| kind_number(*entry_type) == number);
    entry_type.ok_or_else(|| damaged("an unknown kind"))
}

/// The kind as it is in the file: fixed, whatever the order of `EntryType` becomes.
pub(super) fn kind_number(entry_type: EntryType) -> i64 {
    match entry_type {
        EntryType::Embedding => 0,
        EntryType::Inference => 1,
        EntryType::Chat => 2,
        EntryType::Vision => 3,
    }
}

/// SQLite does not notice a flipped bit inside a value; eight bytes of SHA-256 do.
pub(super) fn checksum(key: &CacheKey, entry: &CacheEntry) -> [u8; 8] {
    let mut sum = Sha256::new();
    sum.update(kind_number(key.entry_type).to_le_bytes());
    sum.update(key.hash);
    sum.update(millis(entry.stored_at).to_le_bytes());
    sum.update(millis(entry.expires_at).to_le_bytes());
    sum.update(&entry.value);
    let mut first = [0; 8];
    first.copy_from_slice(&sum.finalize()[..8]);
    first
}

pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn damaged(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

//! The SQLite file of the embedded store: what is in it, and every statement that touches it. When
//! to write, and what to do about a failure, is the writer's business.

use std::{sync::Arc, time::SystemTime};

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    super::store::{CacheEntry, CacheKey, EntryType},
    filter::Hash,
    lookup::{IS_CURRENT, QUERY_SIZES, padded, placeholders},
    readers::Readers,
    rows::{checksum, damaged, kind_number, millis, read_kind},
};
use crate::{sqlite::SqliteFile, types::PerType};

/// An entry is there while its era is its kind's: a clear begins the next era, which changes one row,
/// and what it leaves behind is removed later. `used` counts uses instead of telling a time, so that
/// no clock can make an entry immortal. `value` stands last: SQLite reads the columns before it without
/// reading a long value.
pub(super) const SCHEMA: &str = "
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        era INTEGER NOT NULL,
        hash BLOB NOT NULL,
        stored_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        used INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX entry_by_key ON entry (hash, kind, era);
    CREATE INDEX entry_by_expiry ON entry (kind, era, expires_at_ms);
    CREATE INDEX entry_by_use ON entry (used);
    CREATE TABLE era (kind INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;
    INSERT INTO era VALUES (0, 0), (1, 0), (2, 0), (3, 0);
";

/// Condition for entries of type ?1 that are valid beyond the time ?2.
const IS_SERVABLE: &str =
    "kind = ?1 AND era = (SELECT number FROM era WHERE kind = ?1) AND expires_at_ms > ?2";

/// Entries removed in one transaction: few enough that a waiting write is not held up for long.
const REMOVED_AT_ONCE: u32 = 256;

/// Bytes of one row besides its value, with its share of three indexes.
const ROW_OVERHEAD_BYTES: u64 = 300;

/// Hashes read in one query: a few milliseconds.
const HASHES_AT_ONCE: u32 = 2048;

/// The file, open. Bounds are in pages, as SQLite counts.
pub(super) struct Database {
    pub(super) writing: SqliteConnection,
    pub(super) readers: Arc<Readers>,
    pub(super) file: SqliteFile,
    pub(super) most_pages: u64,
    pub(super) page_bytes: u64,
}

/// Contents of a file.
#[derive(Default)]
pub(super) struct Contents {
    /// Entries by kind, expired ones included, cleared ones not.
    pub(super) entries: PerType<u64>,
    /// The highest use number.
    pub(super) last_use: i64,
}

/// Entries to be written together, and rows to be marked as used.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<(CacheKey, CacheEntry)>,
    pub(super) used: Vec<i64>,
    pub(super) bytes: u64,
}

/// Changes made by a committed transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Change {
    /// Entries more or less, by kind.
    pub(super) entries: PerType<i64>,
    /// Entries that could still have been served.
    pub(super) evicted: u64,
}

impl Change {
    pub(super) fn is_none(&self) -> bool {
        self.entries == PerType::default()
    }
}

impl Database {
    /// Writes a batch in one transaction, after making room for it. `next_use` gives ascending
    /// numbers above all that are in the file.
    pub(super) async fn write(
        &mut self,
        batch: &Batch,
        next_use: impl Fn() -> i64 + Send,
    ) -> sqlx::Result<Change> {
        let (most, page) = (self.most_pages, self.page_bytes);
        let mut change = Change::default();
        let mut transaction = self.writing.begin_with("BEGIN IMMEDIATE").await?;
        let bytes = batch.entries.iter().map(|(_, entry)| entry.value.len() as u64 + ROW_OVERHEAD_BYTES);
        let needed: u64 = bytes.map(|bytes| bytes.div_ceil(page)).sum();
        while used_pages(&mut transaction).await? + needed > most {
            if evict(&mut transaction, &mut change).await? == 0 {
                break;
            }
        }
        for id in &batch.used {
            sqlx::query("UPDATE entry SET used = ?2 WHERE id = ?1")
                .bind(id)
                .bind(next_use())
                .execute(&mut *transaction)
                .await?;
        }
        for (key, entry) in &batch.entries {
            let number = next_use();
            if upsert(&mut transaction, key, entry, number).await? == number {
                change.entries[key.entry_type] += 1;
            }
        }
        transaction.commit().await?;
        Ok(change)
    }

    /// Removes some entries whose time is over; nothing left to remove is no change.
    pub(super) async fn expire(&mut self, now: SystemTime) -> sqlx::Result<Change> {
        let rows = sqlx::query(
            "DELETE FROM entry WHERE id IN (
                 SELECT id FROM era CROSS JOIN entry
                 ON entry.kind = era.kind AND entry.era = era.number AND expires_at_ms <= ?1 LIMIT ?2
             ) RETURNING kind",
        )
        .bind(millis(now))
        .bind(REMOVED_AT_ONCE)
        .fetch_all(&mut self.writing)
        .await?;
        count_removed(&rows)
    }

    /// Removes some entries if the file holds more than it may, which it does after the bound was
    /// lowered; enough room is no change.
    pub(super) async fn trim(&mut self) -> sqlx::Result<Change> {
        let mut change = Change::default();
        let mut transaction = self.writing.begin_with("BEGIN IMMEDIATE").await?;
        if used_pages(&mut transaction).await? > self.most_pages {
            evict(&mut transaction, &mut change).await?;
        }
        transaction.commit().await?;
        Ok(change)
    }

    /// Lets go of all entries of one kind, at once; `sweep` removes them.
    pub(super) async fn clear(&mut self, entry_type: EntryType) -> sqlx::Result<()> {
        let clear = sqlx::query("UPDATE era SET number = number + 1 WHERE kind = ?1");
        clear.bind(kind_number(entry_type)).execute(&mut self.writing).await.map(|_| ())
    }

    /// Removes some of what clears have left behind. Says whether there was any.
    pub(super) async fn sweep(&mut self) -> sqlx::Result<bool> {
        let swept = sqlx::query(
            "DELETE FROM entry WHERE id IN (
                 SELECT id FROM era CROSS JOIN entry
                 ON entry.kind = era.kind AND entry.era < era.number LIMIT ?1
             )",
        )
        .bind(REMOVED_AT_ONCE)
        .execute(&mut self.writing)
        .await?;
        Ok(swept.rows_affected() > 0)
    }

    /// Some of the hashes that follow this one, in order; none at the end.
    pub(super) async fn hashes_after(&mut self, hash: &[u8]) -> sqlx::Result<Vec<Hash>> {
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT hash FROM entry WHERE hash > ?1 ORDER BY hash LIMIT ?2")
                .bind(hash)
                .bind(HASHES_AT_ONCE)
                .fetch_all(&mut self.writing)
                .await?;
        rows.into_iter()
            .map(|hash| hash.try_into().map_err(|_| damaged("a hash of another length")))
            .collect()
    }

    /// Gives some free pages back to the file system when they are many: they are reused otherwise.
    /// Says whether there are more.
    pub(super) async fn shrink(&mut self) -> sqlx::Result<bool> {
        let free = pragma(&mut self.writing, "PRAGMA freelist_count").await?;
        let pages = pragma(&mut self.writing, "PRAGMA page_count").await?;
        if free == 0 || (free * 4 < pages && pages <= self.most_pages) {
            return Ok(false);
        }
        // Few enough that the log, which every moved page goes through, stays small.
        let some = (self.most_pages / 64).clamp(16, 256);
        let vacuum = AssertSqlSafe(format!("PRAGMA incremental_vacuum({some})"));
        sqlx::query(vacuum).execute(&mut self.writing).await?;
        // The file shrinks only when the log is copied back into it, and the log only with an explicit
        // checkpoint.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.writing).await?;
        Ok(pragma(&mut self.writing, "PRAGMA freelist_count").await? < free)
    }

    /// Entries of these kinds that could be served now, here or only under `elsewhere`, each once.
    pub(super) async fn count_distinct(
        &mut self,
        kinds: &[EntryType],
        elsewhere: &[CacheKey],
    ) -> sqlx::Result<u64> {
        let now = millis(SystemTime::now());
        let mut total = elsewhere.len() as u64;
        for entry_type in kinds {
            total += count(
                sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM entry WHERE {IS_SERVABLE}")))
                    .bind(kind_number(*entry_type))
                    .bind(now)
                    .fetch_one(&mut self.writing)
                    .await?,
            );
            let both: Vec<CacheKey> =
                elsewhere.iter().filter(|key| key.entry_type == *entry_type).copied().collect();
            for keys in both.chunks(QUERY_SIZES[QUERY_SIZES.len() - 1]) {
                // Left to itself SQLite would look at every entry of the kind.
                let sql = format!(
                    "SELECT count(*) FROM entry INDEXED BY entry_by_key WHERE {IS_SERVABLE} AND hash IN ({})",
                    placeholders(2, keys)
                );
                let mut query =
                    sqlx::query_scalar(AssertSqlSafe(sql)).bind(kind_number(*entry_type)).bind(now);
                for hash in padded(keys) {
                    query = query.bind(hash);
                }
                total = total.saturating_sub(count(query.fetch_one(&mut self.writing).await?));
            }
        }
        Ok(total)
    }

    /// A new writing connection: after a failure nothing is assumed of the old one.
    pub(super) async fn reconnect(&mut self) -> sqlx::Result<()> {
        let new = self.file.connect().await?;
        let old = std::mem::replace(&mut self.writing, new);
        if let Err(error) = old.close().await {
            tracing::debug!(%error, "closing the cache's connection failed");
        }
        Ok(())
    }

    /// Closes every connection; the last one copies the log back into the file.
    pub(super) async fn close(self) -> sqlx::Result<()> {
        let readers = self.readers.close().await;
        self.writing.close().await.and(readers)
    }
}

/// Counts what is there, by reading one index.
pub(super) async fn contents(connection: &mut SqliteConnection) -> sqlx::Result<Contents> {
    let mut contents = Contents::default();
    let counts = sqlx::query(
        "SELECT kind, (SELECT count(*) FROM entry WHERE entry.kind = era.kind AND entry.era = era.number)
         FROM era",
    )
    .fetch_all(&mut *connection);
    for row in counts.await? {
        contents.entries[read_kind(&row, 0)?] = count(row.try_get(1)?);
    }
    // Ids are use numbers too: that of the entry's first.
    let last = "SELECT max(ifnull((SELECT max(used) FROM entry), 0), ifnull((SELECT max(id) FROM entry), 0))";
    contents.last_use = sqlx::query_scalar(last).fetch_one(connection).await?;
    Ok(contents)
}

/// SQLite's counts are signed and never negative.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A figure that SQLite keeps about the file.
pub(super) async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<u64> {
    Ok(count(sqlx::query_scalar(sql).fetch_one(connection).await?))
}

async fn used_pages(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let pages = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count";
    pragma(connection, pages).await
}

/// Removes the rows that have not been used for the longest. Those with the least time left
/// would be the other choice, but then a disk full of day-long embeddings would refuse every
/// hour-long chat. Gives the number of rows removed.
async fn evict(connection: &mut SqliteConnection, change: &mut Change) -> sqlx::Result<usize> {
    let delete = format!(
        "DELETE FROM entry WHERE id IN (SELECT id FROM entry ORDER BY used LIMIT ?1)
         RETURNING kind, expires_at_ms, {IS_CURRENT}"
    );
    let rows = sqlx::query(AssertSqlSafe(delete)).bind(REMOVED_AT_ONCE).fetch_all(connection).await?;
    let now = millis(SystemTime::now());
    for row in &rows {
        // What was cleared is no longer counted.
        if row.try_get::<bool, _>(2)? {
            change.entries[read_kind(row, 0)?] -= 1;
            change.evicted += u64::from(row.try_get::<i64, _>(1)? > now);
        }
    }
    Ok(rows.len())
}

fn count_removed(rows: &[SqliteRow]) -> sqlx::Result<Change> {
    let mut change = Change::default();
    for row in rows {
        change.entries[read_kind(row, 0)?] -= 1;
    }
    Ok(change)
}

/// Gives the id of the row: `number` when the key is new.
async fn upsert(
    connection: &mut SqliteConnection,
    key: &CacheKey,
    entry: &CacheEntry,
    number: i64,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO entry (id, kind, era, hash, stored_at_ms, expires_at_ms, used, checksum, value)
         VALUES (?1, ?2, (SELECT number FROM era WHERE kind = ?2), ?3, ?4, ?5, ?1, ?6, ?7)
         ON CONFLICT (hash, kind, era) DO UPDATE SET
             stored_at_ms = excluded.stored_at_ms, expires_at_ms = excluded.expires_at_ms,
             used = excluded.used, checksum = excluded.checksum, value = excluded.value
         RETURNING id",
    )
    .bind(number)
    .bind(kind_number(key.entry_type))
    .bind(&key.hash[..])
    .bind(millis(entry.stored_at))
    .bind(millis(entry.expires_at))
    .bind(&checksum(key, entry)[..])
    .bind(&entry.value[..])
    .fetch_one(connection)
    .await
}

//! The embedded store's file: where it is, what bounds it, and what it holds when it is opened.

use std::{path::Path, sync::Arc};

use sqlx::SqliteConnection;

use super::{
    database::{Contents, Database, SCHEMA, contents, pragma},
    readers::Readers,
};
use crate::sqlite::{Disposable, Fault, SqliteFile, close_unless_ok};

const NAME: &str = "responses.db";

/// Raised whenever older files cannot be read any more: they are then set aside.
const VERSION: u32 = 2;

/// The least a bound on disk may be, for a file has a few pages before the first entry.
const MIN_DISK_BYTES: u64 = 1 << 20;

const MAX_LOG_BYTES: u64 = 4 << 20;

/// SQLite's own default.
const MEMORY_KILOBYTES: u32 = 2000;

pub(super) struct DatabaseFile {
    pub(super) sqlite: Disposable,
    disk_bytes: u64,
}

pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) contents: Contents,
}

impl DatabaseFile {
    pub(super) fn new(folder: &Path, disk_bytes: u64) -> Self {
        let disk_bytes = disk_bytes.max(MIN_DISK_BYTES);
        let file = SqliteFile {
            path: folder.join(NAME),
            log_bytes: (disk_bytes / 8).min(MAX_LOG_BYTES),
            memory_kilobytes: MEMORY_KILOBYTES,
        };
        let sqlite = Disposable { file, schema: SCHEMA, version: VERSION };
        Self { sqlite, disk_bytes }
    }

    /// Opens the file, a new one when there is none, and counts what it holds. One that cannot be
    /// read is set aside first.
    ///
    /// # Errors
    /// Whatever keeps a new file from being made, such as a full disk.
    pub(super) async fn open(&self) -> sqlx::Result<Opened> {
        match self.counted(self.sqlite.open().await?).await {
            Err(error) if Fault::of(&error) == Fault::Damaged => {
                self.sqlite.set_aside(&error).await?;
                self.counted(self.sqlite.open().await?).await
            }
            counted => counted,
        }
    }

    /// The most bytes of one batch: the log holds every page that it touches.
    pub(super) fn batch_bytes(&self) -> u64 {
        self.sqlite.file.log_bytes / 2
    }

    /// An entry over this would push out too many others; it is kept in memory only.
    pub(super) fn largest_entry_bytes(&self) -> u64 {
        self.disk_bytes / 8
    }

    async fn counted(&self, mut writing: SqliteConnection) -> sqlx::Result<Opened> {
        let counts = async {
            // It has to be known anyway, and it finds most of what is damaged.
            let contents = contents(&mut writing).await?;
            Ok((contents, pragma(&mut writing, "PRAGMA page_size").await?.max(512)))
        };
        let counts = counts.await;
        let (writing, (contents, page_bytes)) = close_unless_ok(writing, counts).await?;
        let readers = Arc::new(Readers::new(self.sqlite.file.options().read_only(true)));
        // Twice the log: a batch may be written to it before it is copied back.
        let most_pages = self.disk_bytes.saturating_sub(2 * self.sqlite.file.log_bytes) / page_bytes;
        let file = self.sqlite.file.clone();
        Ok(Opened { database: Database { writing, readers, file, most_pages, page_bytes }, contents })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sqlite::is_open;

    #[tokio::test]
    async fn a_file_that_cannot_be_counted_is_closed_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = DatabaseFile::new(folder.path(), MIN_DISK_BYTES);
        let mut connection = file.sqlite.open().await.expect("a new file");
        sqlx::raw_sql("DROP TABLE era").execute(&mut connection).await.expect("damage");
        assert!(file.counted(connection).await.is_err());
        assert!(!is_open(folder.path()));
    }
}

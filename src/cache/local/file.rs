//! Where the embedded store's file is: opening it, making it, setting a damaged one aside.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::fs;

use super::{
    database::{Contents, Database, SCHEMA, contents, pragma},
    readers::Readers,
    standing::Fault,
};

const NAME: &str = "responses.db";

/// Raised whenever older files cannot be read any more: they are then set aside.
const VERSION: u64 = 2;

const PAGE_BYTES: u32 = 4096;

/// The least a bound on disk may be, for a file has a few pages before the first entry.
const LEAST_DISK_BYTES: u64 = 1 << 20;

/// How long a write waits for another process that looks into the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct DatabaseFile {
    path: PathBuf,
    disk_bytes: u64,
}

pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) contents: Contents,
}

impl DatabaseFile {
    pub(super) fn new(folder: &Path, disk_bytes: u64) -> Self {
        Self { path: folder.join(NAME), disk_bytes: disk_bytes.max(LEAST_DISK_BYTES) }
    }

    /// Opens the file, a new one when there is none, and counts what it holds. One that cannot be
    /// read is set aside first.
    ///
    /// # Errors
    /// Whatever keeps a new file from being made, such as a full disk.
    pub(super) async fn open(&self) -> sqlx::Result<Opened> {
        match self.open_as_is().await {
            Err(error) if Fault::of(&error) == Fault::Damaged => {
                let to = self.set_aside().await?;
                tracing::warn!(
                    error = %error,
                    set_aside_as = %to.display(),
                    "the cache's file cannot be read; it is set aside and the cache starts empty"
                );
                self.open_as_is().await
            }
            opened => opened,
        }
    }

    /// Renames the file, which must not be open, and forgets any older one set aside: they may be
    /// large, and one is enough to find out what happened. Gives the new name.
    pub(super) async fn set_aside(&self) -> io::Result<PathBuf> {
        let mark = format!("{NAME}.damaged-");
        let mut older = Vec::new();
        let mut folder = fs::read_dir(self.path.parent().unwrap_or(Path::new("."))).await?;
        while let Some(entry) = folder.next_entry().await? {
            if entry.file_name().to_string_lossy().starts_with(&mark) {
                older.push(entry.path());
            }
        }
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let to = self.path.with_file_name(format!("{mark}{now}"));
        fs::rename(&self.path, &to).await?;
        // The log first belongs to the old file; with a new one SQLite would take it for its own.
        self.remove_log().await?;
        for path in older.into_iter().filter(|path| *path != to) {
            remove(&path).await?;
        }
        Ok(to)
    }

    /// Removes the file, which must not be open, with all that is in it.
    pub(super) async fn remove(&self) -> io::Result<()> {
        // The log first: left behind by a kill between, it would be replayed into the next file.
        self.remove_log().await?;
        remove(&self.path).await
    }

    /// Bytes on disk, the log included.
    pub(super) async fn bytes(&self) -> u64 {
        let mut bytes = 0;
        for path in [self.path.clone(), self.beside("-wal")] {
            bytes += fs::metadata(path).await.map_or(0, |file| file.len());
        }
        bytes
    }

    /// The log is copied back into the file when it has this many bytes.
    fn log_bytes(&self) -> u64 {
        (self.disk_bytes / 8).min(4 << 20)
    }

    /// The most bytes of one batch: the log holds every page that it touches.
    pub(super) fn batch_bytes(&self) -> u64 {
        self.log_bytes() / 2
    }

    /// An entry over this would push out too many others; it is kept in memory only.
    pub(super) fn largest_entry_bytes(&self) -> u64 {
        self.disk_bytes / 8
    }

    async fn open_as_is(&self) -> sqlx::Result<Opened> {
        let options = self.writing_options();
        let mut writing = SqliteConnection::connect_with(&options).await?;
        prepare(&mut writing).await?;
        // It has to be known anyway, and it finds most of what is damaged.
        let contents = contents(&mut writing).await?;
        let readers = Arc::new(Readers::new(self.options().read_only(true)));
        let page_bytes = pragma(&mut writing, "PRAGMA page_size").await?.max(512);
        // Twice the log: a batch may be written to it before it is copied back.
        let most_pages = self.disk_bytes.saturating_sub(2 * self.log_bytes()) / page_bytes;
        Ok(Opened { database: Database { writing, readers, options, most_pages, page_bytes }, contents })
    }

    /// No memory map: a file that another process truncates would end this one with SIGBUS.
    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
    }

    /// SQLite writes to the file for some of these, so they are not for readers.
    fn writing_options(&self) -> SqliteConnectOptions {
        self.options()
            .create_if_missing(true)
            .page_size(PAGE_BYTES)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("wal_autocheckpoint", (self.log_bytes() / u64::from(PAGE_BYTES)).to_string())
            .pragma("journal_size_limit", self.log_bytes().to_string())
    }

    async fn remove_log(&self) -> io::Result<()> {
        remove(&self.beside("-wal")).await?;
        remove(&self.beside("-shm")).await
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// Makes the tables of a new file, and refuses one of another version or of another program.
async fn prepare(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let version = pragma(connection, "PRAGMA user_version").await?;
    let tables = pragma(connection, "SELECT count(*) FROM sqlite_schema").await?;
    if version == VERSION && tables > 0 {
        return Ok(());
    }
    if version != 0 || tables != 0 {
        return Err(sqlx::Error::Decode(format!("version {version} of the cache's file").into()));
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {VERSION}")))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! One SQLite file and its log: where it is, and how a connection to it is made.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{fs, task::spawn_blocking};

use crate::files;

/// How long a statement waits for another process that is at the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const PAGE_BYTES: u32 = 4096;

#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    pub(crate) path: PathBuf,
    /// The log is copied back into the file when it has this many bytes.
    pub(crate) log_bytes: u64,
    /// Kilobytes of SQLite's page cache; the operating system caches what is read often, too.
    pub(crate) memory_kilobytes: u32,
}

/// The file's inode, length and time of change.
pub(crate) type FileState = (u64, u64, SystemTime);

impl SqliteFile {
    /// Bytes on disk, the log included.
    pub(crate) async fn bytes(&self) -> u64 {
        let mut bytes = 0;
        for path in [self.path.clone(), self.beside("-wal")] {
            bytes += fs::metadata(path).await.map_or(0, |file| file.len());
        }
        bytes
    }

    /// Changes with the file: another in its place, or other bytes in it. None when there is no file.
    pub(crate) async fn state(&self) -> Option<FileState> {
        let found = fs::metadata(&self.path).await.ok()?;
        Some((found.ino(), found.len(), found.modified().ok()?))
    }

    /// One more connection for writing, to a new file when there is none. The file is made here, for SQLite
    /// would give it the mode that the umask leaves; its logs then have the file's.
    pub(crate) async fn connect(&self) -> sqlx::Result<SqliteConnection> {
        let path = self.path.clone();
        let made = spawn_blocking(move || {
            files::private_folder(path.parent().unwrap_or(Path::new(".")))?;
            files::ensure_private(&path)
        });
        made.await.map_err(io::Error::other)??;
        let mut connection = SqliteConnection::connect_with(&self.options().create_if_missing(true)).await?;
        // They are no options of the connection, for they read the file: sqlx drops one that fails.
        let pragmas = AssertSqlSafe(self.writing_pragmas());
        let set = sqlx::raw_sql(pragmas).execute(&mut connection).await;
        let (connection, _) = close_unless_ok(connection, set).await?;
        Ok(connection)
    }

    /// For readers. No memory map: a file that another process truncates would end this process with SIGBUS.
    pub(crate) fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
    }

    /// SQLite writes to the file for some of these, so they are not for readers. The first two count
    /// only before a new file has its first page.
    fn writing_pragmas(&self) -> String {
        let Self { log_bytes, memory_kilobytes, .. } = self;
        let log_pages = log_bytes / u64::from(PAGE_BYTES);
        format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; \
             PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             PRAGMA cache_size = -{memory_kilobytes}; PRAGMA wal_autocheckpoint = {log_pages}; \
             PRAGMA journal_size_limit = {log_bytes}"
        )
    }

    pub(super) async fn remove_log(&self) -> io::Result<()> {
        remove(&self.beside("-wal")).await?;
        remove(&self.beside("-shm")).await
    }

    /// Path of a file that belongs to this one.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// The connection when all went well with it; otherwise it is closed. One that is only dropped is
/// closed later by a thread of sqlx, and SQLite would then remove the log of the next file by its name.
pub(crate) async fn close_unless_ok<T>(
    connection: SqliteConnection,
    done: sqlx::Result<T>,
) -> sqlx::Result<(SqliteConnection, T)> {
    match done {
        Ok(done) => Ok((connection, done)),
        Err(error) => {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "closing a connection failed");
            }
            Err(error)
        }
    }
}

pub(super) async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether this process has a file in this folder open.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn is_open(folder: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("the open files").flatten();
    open.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|path| path.starts_with(folder))
}

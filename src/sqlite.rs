//! SQLite files that the server can do without: how one is opened, what a failure means, and how one
//! that cannot be read is set aside. What is in a file is its owner's business.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{fs, task::spawn_blocking};

use crate::files;

/// How long a statement waits for another process that is at the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const PAGE_BYTES: u32 = 4096;

/// Classification of SQLite failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room; waiting helps.
    Full,
    /// The file is not what we wrote; only a new one helps.
    Damaged,
    /// Anything else: no permission, a failing disk, a lock.
    Refused,
}

impl Fault {
    /// Primary result codes: <https://www.sqlite.org/rescode.html>.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        // Our statements are fixed: SQLite finding them wrong (1), a constraint broken (19) or a
        // column of another type (decode errors) means that the file is not ours any more.
        const DAMAGED: [i32; 5] = [1, 11, 19, 20, 26];
        const FULL: i32 = 13;
        // The file ends before it should.
        const SHORT_READ: i32 = 522;
        if let sqlx::Error::Io(error) = error {
            return if error.kind() == io::ErrorKind::StorageFull { Self::Full } else { Self::Refused };
        }
        let Some(database) = error.as_database_error() else {
            let decode = matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. });
            return if decode { Self::Damaged } else { Self::Refused };
        };
        let extended = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
        match extended & 0xff {
            FULL => Self::Full,
            _ if extended == SHORT_READ => Self::Damaged,
            code if DAMAGED.contains(&code) => Self::Damaged,
            _ => Self::Refused,
        }
    }
}

/// One file, and what makes it ours.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFile {
    pub(crate) path: PathBuf,
    /// Statements that make the tables of a new file.
    pub(crate) schema: &'static str,
    /// Kept in the file; one of another version is set aside.
    pub(crate) version: u32,
    /// The log is copied back into the file when it has this many bytes.
    pub(crate) log_bytes: u64,
    /// Kilobytes of SQLite's page cache; the operating system caches what is read often, too.
    pub(crate) memory_kilobytes: u32,
}

impl SqliteFile {
    /// Opens the file, a new one when there is none. One that cannot be read is set aside first.
    ///
    /// # Errors
    /// Whatever keeps a new file from being made, such as a full disk.
    pub(crate) async fn open(&self) -> sqlx::Result<SqliteConnection> {
        match self.open_as_is().await {
            Err(error) if Fault::of(&error) == Fault::Damaged => {
                self.set_aside(&error).await?;
                self.open_as_is().await
            }
            opened => opened,
        }
    }

    /// Renames the file, which must not be open, and forgets any older one set aside: they may be
    /// large, and one is enough to find out what happened.
    pub(crate) async fn set_aside(&self, why: &(dyn Display + Sync)) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mark = format!("{name}.damaged-");
        let mut folder = fs::read_dir(self.path.parent().unwrap_or(Path::new("."))).await?;
        let mut older = Vec::new();
        while let Some(entry) = folder.next_entry().await? {
            if entry.file_name().to_string_lossy().starts_with(&mark) {
                older.push(entry.path());
            }
        }
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let to = self.path.with_file_name(format!("{mark}{now}"));
        fs::rename(&self.path, &to).await?;
        // The log belongs to the old file; with a new one SQLite would take it for its own.
        self.remove_log().await?;
        for path in older.into_iter().filter(|path| *path != to) {
            remove(&path).await?;
        }
        tracing::warn!(why = %why, set_aside_as = %to.display(), "{name} cannot be read; it is kept under another name and a new one is created");
        Ok(())
    }

    /// Removes the file, which must not be open, with all that is in it.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        // The log first: left behind by a kill between, it would be replayed into the next file.
        self.remove_log().await?;
        remove(&self.path).await
    }

    /// Bytes on disk, the log included.
    pub(crate) async fn bytes(&self) -> u64 {
        let mut bytes = 0;
        for path in [self.path.clone(), self.beside("-wal")] {
            bytes += fs::metadata(path).await.map_or(0, |file| file.len());
        }
        bytes
    }

    async fn open_as_is(&self) -> sqlx::Result<SqliteConnection> {
        let mut connection = self.connect().await?;
        let prepared = self.prepare(&mut connection).await;
        let (connection, ()) = close_unless_ok(connection, prepared).await?;
        Ok(connection)
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

    /// For those who only read. No memory map: a file that another process truncates would end this
    /// one with SIGBUS.
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

    /// Makes the tables of a new file, and refuses one of another version or of another program.
    async fn prepare(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        // Several servers may open a new file at once: only one of them finds it empty.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let version: u32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await?;
        if version == 0 && tables == 0 {
            sqlx::raw_sql(self.schema).execute(&mut *transaction).await?;
            let mark = AssertSqlSafe(format!("PRAGMA user_version = {}", self.version));
            sqlx::raw_sql(mark).execute(&mut *transaction).await?;
        } else if version != self.version || tables == 0 {
            return Err(sqlx::Error::Decode(format!("the file has version {version}").into()));
        }
        transaction.commit().await
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

async fn remove(path: &Path) -> io::Result<()> {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_refused_is_closed_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let schema = "CREATE TABLE number (value INTEGER)";
        let path = folder.path().join("numbers.db");
        let file = SqliteFile { path, schema, version: 1, log_bytes: 1 << 20, memory_kilobytes: 100 };
        file.open_as_is().await.expect("a new file").close().await.expect("closed");
        let newer = SqliteFile { version: 2, ..file.clone() };
        newer.open_as_is().await.expect_err("another version");
        assert!(!is_open(folder.path()), "another version");
        std::fs::write(&file.path, b"this is not a database".repeat(1_000)).expect("garbage");
        file.open_as_is().await.expect_err("garbage");
        assert!(!is_open(folder.path()), "garbage");
    }
}

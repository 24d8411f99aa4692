//! A file that must not be lost. Migrations bring one of an older version up to date, after a backup; one of
//! a newer version, and one that is damaged, is left as it is. See docs/adr/0025.

use std::{fmt, io, path::PathBuf};

use sqlx::{AssertSqlSafe, Connection, SqliteConnection, Transaction};
use tokio::{fs, task::spawn_blocking};

use super::{
    fault::Fault,
    file::{SqliteFile, close_unless_ok, remove},
};
use crate::files;

#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) file: SqliteFile,
    /// The first makes the tables of a new file. The version of a file is the number of those it has had.
    pub(crate) migrations: &'static [&'static str],
}

/// A file that a newer version of the program has written.
#[derive(Debug)]
struct Newer {
    found: usize,
    known: usize,
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, known } = self;
        write!(f, "the file has version {found}, and this program knows versions up to {known}")
    }
}

impl std::error::Error for Newer {}

impl Database {
    /// Opens the file, a new one when there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// Whatever keeps the file from being used; it is then as it was.
    pub(crate) async fn open(&self) -> sqlx::Result<SqliteConnection> {
        let mut connection = self.file.connect().await?;
        let migrated = self.migrate(&mut connection).await;
        let (connection, ()) = close_unless_ok(connection, migrated).await?;
        Ok(connection)
    }

    /// Looks at the file without upgrading it, and gives its version; 0 when there is none.
    ///
    /// # Errors
    /// Whatever would keep it from being opened, as far as can be seen without writing.
    pub(crate) async fn look(&self) -> sqlx::Result<usize> {
        if !fs::try_exists(&self.file.path).await? {
            return Ok(0);
        }
        // Not for reading only: such a connection cannot remove the log that it needs.
        let mut connection = SqliteConnection::connect_with(&self.file.options()).await?;
        let found = self.version(&mut connection).await;
        let (connection, found) = close_unless_ok(connection, found).await?;
        connection.close().await?;
        Ok(found)
    }

    /// Describes the version of the file without upgrading it; `none` is said when there is none.
    ///
    /// # Errors
    /// Those of `look`.
    pub(crate) async fn describe(&self, none: &str) -> sqlx::Result<String> {
        Ok(match self.look().await? {
            0 => none.to_owned(),
            found if found < self.migrations.len() => {
                format!("file version {found}, upgraded at the next start")
            }
            found => format!("file version {found}"),
        })
    }

    /// Describes why the file cannot be used, with what that means and how it is put right.
    pub(crate) async fn explain(&self, error: &sqlx::Error, consequence: &str) -> String {
        let name = self.name();
        if let sqlx::Error::Configuration(error) = error
            && let Some(Newer { found, known }) = error.downcast_ref::<Newer>()
        {
            let restore = self.way_back(*known).await;
            return format!(
                "{name} was written by a newer version of Simpleton (file version {found}; this program reads up to {known}): {consequence}. Run the newer version again, or stop the server and {restore}"
            );
        }
        match Fault::of(error) {
            Fault::Full => format!("the disk is full: {consequence}"),
            Fault::Refused => format!("{name} cannot be read or written: {consequence}"),
            Fault::Damaged => {
                let restore = self.way_back(self.migrations.len()).await;
                format!(
                    "{name} is damaged, or is not a file of Simpleton's: {consequence}. Stop the server and {restore}"
                )
            }
        }
    }

    /// Migrations and the new version are one transaction: a kill or a failure leaves the old file.
    async fn migrate(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        // Several servers may open one file at once: only the first finds anything to do.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let found = self.version(&mut transaction).await?;
        let known = self.migrations.len();
        if found == known {
            return transaction.commit().await;
        }
        if found > 0 {
            self.back_up(found).await?;
        }
        for migration in &self.migrations[found..] {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
        }
        let mark = AssertSqlSafe(format!("PRAGMA user_version = {known}"));
        sqlx::raw_sql(mark).execute(&mut *transaction).await?;
        transaction.commit().await?;
        if found > 0 {
            let backup = self.backup(found).display().to_string();
            tracing::info!(backup, "{} is upgraded from version {found} to {known}", self.name());
            self.remove_backups_except(found).await?;
        }
        Ok(())
    }

    /// Returns the version of a file that is ours and not too new; 0 of an empty one.
    async fn version(&self, connection: &mut SqliteConnection) -> sqlx::Result<usize> {
        let found: u32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(connection).await?;
        let (found, known) = (usize::try_from(found).unwrap_or(usize::MAX), self.migrations.len());
        match (found, tables) {
            (found, _) if found > known => Err(newer(found, known)),
            (0, 1..) | (1.., 0) => Err(sqlx::Error::Decode("its tables are not ours".into())),
            _ => Ok(found),
        }
    }

    /// Copies the file as SQLite sees it, the log included. A backup is whole or not there.
    async fn back_up(&self, version: usize) -> sqlx::Result<()> {
        let (backup, partial) = (self.backup(version), self.file.beside(".backup-partial"));
        let copied = self.copy_to(partial.clone()).await;
        if copied.is_err() {
            // It may be what fills the disk, and the first failure says more than a second one.
            let _ = remove(&partial).await;
        }
        copied?;
        Ok(fs::rename(partial, backup).await?)
    }

    async fn copy_to(&self, path: PathBuf) -> sqlx::Result<()> {
        remove(&path).await?;
        let made = path.clone();
        // SQLite fills an empty file, and would give a new one the mode that the umask leaves.
        spawn_blocking(move || files::ensure_private(&made)).await.map_err(io::Error::other)??;
        let name = path.to_str().ok_or(io::ErrorKind::InvalidFilename).map_err(io::Error::from)?;
        let mut connection = SqliteConnection::connect_with(&self.file.options().read_only(true)).await?;
        let copied = sqlx::query("VACUUM INTO ?1").bind(name).execute(&mut connection).await;
        let (connection, _) = close_unless_ok(connection, copied).await?;
        connection.close().await?;
        Ok(fs::File::open(path).await?.sync_all().await?)
    }

    /// Path of the backup of a version, made before the upgrade from it.
    fn backup(&self, version: usize) -> PathBuf {
        self.file.beside(&format!(".backup-v{version}"))
    }

    /// The last backup is the way back; more of them would fill the disk.
    async fn remove_backups_except(&self, version: usize) -> io::Result<()> {
        for older in (1..self.migrations.len()).filter(|older| *older != version) {
            remove(&self.backup(older)).await?;
        }
        Ok(())
    }

    /// Completes "stop the server and …", with the latest backup that this program can read.
    async fn way_back(&self, known: usize) -> String {
        let name = self.name();
        let logs = format!("{name}-wal and {name}-shm");
        for version in (1..=known).rev() {
            if fs::try_exists(self.backup(version)).await.unwrap_or(false) {
                return format!(
                    "move {name}, {logs} away, and put {name}.backup-v{version} in the place of {name}"
                );
            }
        }
        format!("restore {name} from a backup, or move it, {logs} away to begin a new one")
    }

    fn name(&self) -> String {
        self.file.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Begins a transaction for writing. A file that another server has upgraded meanwhile is not written to.
pub(crate) async fn begin<'a>(
    connection: &'a mut SqliteConnection,
    migrations: &[&str],
) -> sqlx::Result<Transaction<'a, sqlx::Sqlite>> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found: u32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await?;
    let (found, known) = (usize::try_from(found).unwrap_or(usize::MAX), migrations.len());
    match found {
        _ if found == known => Ok(transaction),
        _ if found > known => Err(newer(found, known)),
        // To open it again brings it up to date.
        _ => Err(io::Error::other("an older file has taken its place").into()),
    }
}

fn newer(found: usize, known: usize) -> sqlx::Error {
    sqlx::Error::Configuration(Newer { found, known }.into())
}

#[cfg(test)]
mod tests;

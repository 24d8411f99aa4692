//! A file that the server can do without, such as a cache: one that cannot be read, or that another version
//! has made, is set aside for a new one.

use std::{fmt::Display, io, path::Path};

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::fs;

use super::{
    fault::Fault,
    file::{SqliteFile, close_unless_ok, remove},
};

#[derive(Clone, Debug)]
pub(crate) struct Disposable {
    pub(crate) file: SqliteFile,
    /// Statements that make the tables of a new file.
    pub(crate) schema: &'static str,
    /// Kept in the file; one of another version is set aside.
    pub(crate) version: u32,
}

impl Disposable {
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
        let name = self.file.path.file_name().unwrap_or_default().to_string_lossy();
        let mark = format!("{name}.damaged-");
        let mut folder = fs::read_dir(self.file.path.parent().unwrap_or(Path::new("."))).await?;
        let mut older = Vec::new();
        while let Some(entry) = folder.next_entry().await? {
            if entry.file_name().to_string_lossy().starts_with(&mark) {
                older.push(entry.path());
            }
        }
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let to = self.file.path.with_file_name(format!("{mark}{now}"));
        fs::rename(&self.file.path, &to).await?;
        // The log belongs to the old file; with a new one SQLite would take it for its own.
        self.file.remove_log().await?;
        for path in older.into_iter().filter(|path| *path != to) {
            remove(&path).await?;
        }
        tracing::warn!(why = %why, set_aside_as = %to.display(), "{name} cannot be read; it is kept under another name and a new one is created");
        Ok(())
    }

    /// Removes the file, which must not be open, with all that is in it.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        // The log first: left behind by a kill between, it would be replayed into the next file.
        self.file.remove_log().await?;
        remove(&self.file.path).await
    }

    async fn open_as_is(&self) -> sqlx::Result<SqliteConnection> {
        let mut connection = self.file.connect().await?;
        let prepared = self.prepare(&mut connection).await;
        let (connection, ()) = close_unless_ok(connection, prepared).await?;
        Ok(connection)
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
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{super::is_open, *};

    #[tokio::test]
    async fn a_file_that_is_refused_is_closed_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let schema = "CREATE TABLE number (value INTEGER)";
        let path = folder.path().join("numbers.db");
        let file = SqliteFile { path, log_bytes: 1 << 20, memory_kilobytes: 100 };
        let file = Disposable { file, schema, version: 1 };
        file.open_as_is().await.expect("a new file").close().await.expect("closed");
        let newer = Disposable { version: 2, ..file.clone() };
        newer.open_as_is().await.expect_err("another version");
        assert!(!is_open(folder.path()), "another version");
        std::fs::write(&file.file.path, b"this is not a database".repeat(1_000)).expect("garbage");
        file.open_as_is().await.expect_err("garbage");
        assert!(!is_open(folder.path()), "garbage");
    }
}

//! The connections that read the embedded store's file for requests. Not sqlx's pool: that one hands
//! a connection back through a task of its own, which doubled the time of a miss.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Semaphore;

use super::{
    super::store::CacheKey,
    lookup::{IS_CURRENT, QUERY_SIZES, padded, placeholders},
    rows::{COLUMNS, Found, read_row},
};

/// Each connection is a thread.
const CONNECTION_LIMIT: u32 = 4;

pub(super) struct Readers {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

impl Readers {
    /// Connects when there is something to read.
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, idle: Mutex::default(), permits: Semaphore::new(CONNECTION_LIMIT as usize) }
    }

    /// The entries of these keys that are in the file, expired ones included, in no order.
    ///
    /// # Errors
    /// `PoolClosed` after `close`, and whatever SQLite says.
    pub(super) async fn read(&self, keys: &[CacheKey]) -> sqlx::Result<Vec<Found>> {
        let _permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        let mut lent = Lent { readers: self, connection: Some(connection) };
        match &mut lent.connection {
            Some(connection) => read(connection, keys).await,
            None => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Waits for running reads and closes all connections: one that closed later would remove the log of the
    /// next file by its name.
    pub(super) async fn close(&self) -> sqlx::Result<()> {
        // It fails only when they are closed already.
        if let Ok(_all) = self.permits.acquire_many(CONNECTION_LIMIT).await {
            self.permits.close();
        }
        let connections = std::mem::take(&mut *self.idle());
        let mut result = Ok(());
        for connection in connections {
            result = result.and(connection.close().await);
        }
        result
    }

    /// Locks the list, which stays consistent even if a thread panics while holding it.
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. It goes back also when the reader has gone in the middle of its query, so
/// that `close` finds it; sqlx ends such a query before the next.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<SqliteConnection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.readers.idle().extend(self.connection.take());
    }
}

async fn read(connection: &mut SqliteConnection, keys: &[CacheKey]) -> sqlx::Result<Vec<Found>> {
    let mut found = Vec::new();
    for keys in keys.chunks(QUERY_SIZES[QUERY_SIZES.len() - 1]) {
        let wanted = placeholders(0, keys);
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE hash IN ({wanted}) AND {IS_CURRENT}");
        // Only constants and question marks are in it.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for hash in padded(keys) {
            query = query.bind(hash);
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.push(read_row(&row)?);
        }
    }
    Ok(found)
}

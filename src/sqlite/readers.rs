//! The connections that read a file beside its writer. Not sqlx's pool: that one hands a connection back through
//! a task of its own, which doubled the time of a cache miss.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Each connection is a thread.
const CONNECTION_LIMIT: u32 = 4;

pub(crate) struct Readers {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

impl Readers {
    /// Connects when there is something to read.
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, idle: Mutex::default(), permits: Semaphore::new(CONNECTION_LIMIT as usize) }
    }

    /// Lends a connection, and waits for one while all are in use.
    ///
    /// # Errors
    /// `PoolClosed` after `close`, and whatever SQLite says.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent<'_>> {
        let permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        Ok(Lent { readers: self, connection: Some(connection), _permit: permit })
    }

    /// Closes the connections that are not in use; others are made when there is something to read.
    pub(crate) async fn reconnect(&self) -> sqlx::Result<()> {
        let connections = std::mem::take(&mut *self.idle());
        let mut result = Ok(());
        for connection in connections {
            result = result.and(connection.close().await);
        }
        result
    }

    /// Waits for running reads and closes all connections: one that closed later would remove the log of the
    /// next file by its name.
    pub(crate) async fn close(&self) -> sqlx::Result<()> {
        // It fails only when they are closed already.
        if let Ok(_all) = self.permits.acquire_many(CONNECTION_LIMIT).await {
            self.permits.close();
        }
        self.reconnect().await
    }

    /// Locks the list, which stays consistent even if a thread panics while holding it.
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. It goes back also when the reader has gone in the middle of its query, so
/// that `close` finds it; sqlx ends such a query before the next.
pub(crate) struct Lent<'a> {
    readers: &'a Readers,
    /// Taken only when it goes back.
    connection: Option<SqliteConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Deref for Lent<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is lent")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is lent")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.readers.idle().extend(self.connection.take());
    }
}

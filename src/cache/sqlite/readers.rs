//! Reading entries of the embedded store's file for requests.

use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    super::store::CacheKey,
    lookup::{IS_CURRENT, QUERY_SIZES, padded, placeholders},
    rows::{COLUMNS, Found, read_row},
};
use crate::sqlite;

pub(super) struct Readers(sqlite::Readers);

impl Readers {
    /// Connects when there is something to read.
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self(sqlite::Readers::new(options))
    }

    /// The entries of these keys that are in the file, expired ones included, in no order.
    ///
    /// # Errors
    /// `PoolClosed` after `close`, and whatever SQLite says.
    pub(super) async fn read(&self, keys: &[CacheKey]) -> sqlx::Result<Vec<Found>> {
        read(&mut *self.0.lend().await?, keys).await
    }

    /// Waits for running reads and closes all connections.
    pub(super) async fn close(&self) -> sqlx::Result<()> {
        self.0.close().await
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

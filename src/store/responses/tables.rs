//! Statements on the file.

use std::path::PathBuf;

use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteRow};

use super::{Chain, RETENTION, ResponseId, StoredResponse};
use crate::{
    sqlite::{Database, SqliteFile, begin},
    types::Principal,
};

/// Files are never changed once they have been released: old files have had them as they were.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001-responses.sql")];

/// Pages given back to the disk at a time.
const SHRINK_PAGES: i64 = 2000;

pub(super) fn database(path: PathBuf) -> Database {
    let file = SqliteFile { path, log_bytes: 16 << 20, memory_kilobytes: 4000 };
    Database { file, migrations: MIGRATIONS }
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    owner: &Principal,
    response: &StoredResponse,
    now: i64,
    max_bytes: u64,
) -> sqlx::Result<()> {
    let mut transaction = begin(connection, MIGRATIONS).await?;
    let conversation = conversation(&mut transaction, owner, response.previous, now).await?;
    sqlx::query(
        "INSERT INTO response (id, conversation, previous, is_finished, input, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(response.id.to_string())
    .bind(conversation)
    .bind(response.previous.map(|id| id.to_string()))
    .bind(response.is_finished)
    .bind(&response.input)
    .bind(&response.body)
    .execute(&mut *transaction)
    .await?;
    expire(&mut transaction, now).await?;
    make_room(&mut transaction, conversation, max_bytes).await?;
    transaction.commit().await
}

pub(super) async fn check(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT 1 FROM response LIMIT 1").fetch_optional(connection).await?;
    Ok(())
}

/// The conversation of the response that is continued, or a new one.
async fn conversation(
    connection: &mut SqliteConnection,
    owner: &Principal,
    previous: Option<ResponseId>,
    now: i64,
) -> sqlx::Result<i64> {
    let continued: Option<i64> = sqlx::query_scalar(
        "UPDATE conversation SET used_at = max(used_at, ?3)
         WHERE id = (SELECT conversation FROM response WHERE id = ?1) AND owner = ?2 RETURNING id",
    )
    .bind(previous.map(|id| id.to_string()))
    .bind(owner.id().to_vec())
    .bind(now)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(continued) = continued {
        return Ok(continued);
    }
    sqlx::query_scalar("INSERT INTO conversation (owner, used_at) VALUES (?1, ?2) RETURNING id")
        .bind(owner.id().to_vec())
        .bind(now)
        .fetch_one(connection)
        .await
}

/// Removes conversations, those first that have been unused the longest, until what is in use is a little below the
/// limit: not every response has to remove another one. A hundredth of them goes at a time, which is neither slow for
/// many small ones nor too much for a few large ones.
async fn make_room(connection: &mut SqliteConnection, kept: i64, max_bytes: u64) -> sqlx::Result<()> {
    if used_bytes(connection).await? <= max_bytes {
        return Ok(());
    }
    while used_bytes(connection).await? > max_bytes / 20 * 19 {
        let removed = sqlx::query(
            "DELETE FROM conversation WHERE id IN
             (SELECT id FROM conversation WHERE id <> ?1 ORDER BY used_at, id
              LIMIT max(1, (SELECT count(*) FROM conversation) / 100))",
        );
        if removed.bind(kept).execute(&mut *connection).await?.rows_affected() == 0 {
            break;
        }
    }
    Ok(())
}

/// Bytes of the file's pages, without those that are free.
async fn used_bytes(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let mut pragma = async |name: &'static str| -> sqlx::Result<u64> {
        let value: i64 = sqlx::query_scalar(name).fetch_one(&mut *connection).await?;
        Ok(value.unsigned_abs())
    };
    let pages = pragma("PRAGMA page_count").await?.saturating_sub(pragma("PRAGMA freelist_count").await?);
    Ok(pages * pragma("PRAGMA page_size").await?)
}

pub(super) async fn finish(
    connection: &mut SqliteConnection,
    owner: &Principal,
    id: ResponseId,
    body: &str,
) -> sqlx::Result<()> {
    let mut transaction = begin(connection, MIGRATIONS).await?;
    sqlx::query(
        "UPDATE response SET body = ?3, is_finished = 1 WHERE id = ?1 AND is_finished = 0
         AND conversation IN (SELECT id FROM conversation WHERE owner = ?2)",
    )
    .bind(id.to_string())
    .bind(owner.id().to_vec())
    .bind(body)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    owner: &Principal,
    id: ResponseId,
    now: i64,
) -> sqlx::Result<Option<StoredResponse>> {
    let row = sqlx::query(
        "SELECT r.id, r.previous, r.is_finished, r.input, r.body
         FROM response r JOIN conversation c ON c.id = r.conversation
         WHERE r.id = ?1 AND c.owner = ?2 AND c.used_at >= ?3",
    );
    let row = row.bind(id.to_string()).bind(owner.id().to_vec()).bind(oldest(now));
    row.fetch_optional(connection).await?.map(|row| stored(&row)).transpose()
}

pub(super) async fn chain(
    connection: &mut SqliteConnection,
    owner: &Principal,
    id: ResponseId,
    now: i64,
    max_bytes: usize,
) -> sqlx::Result<Chain> {
    let mut read = connection.begin().await?;
    let (mut chain, mut next, mut bytes) = (Vec::new(), Some(id), 0);
    while let Some(id) = next {
        let Some(found) = get(&mut read, owner, id, now).await? else { return Ok(Chain::Missing(id)) };
        bytes += found.input.len() + found.body.len();
        if bytes > max_bytes {
            return Ok(Chain::TooLarge);
        }
        next = found.previous;
        chain.push(found);
    }
    chain.reverse();
    Ok(Chain::Complete(chain))
}

pub(super) async fn delete(
    connection: &mut SqliteConnection,
    owner: &Principal,
    id: ResponseId,
    now: i64,
) -> sqlx::Result<bool> {
    let mut transaction = begin(connection, MIGRATIONS).await?;
    let conversation: Option<i64> = sqlx::query_scalar(
        "DELETE FROM response WHERE id = ?1 AND conversation IN
         (SELECT id FROM conversation WHERE owner = ?2 AND used_at >= ?3) RETURNING conversation",
    )
    .bind(id.to_string())
    .bind(owner.id().to_vec())
    .bind(oldest(now))
    .fetch_optional(&mut *transaction)
    .await?;
    sqlx::query(
        "DELETE FROM conversation WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM response WHERE conversation = ?1)",
    )
    .bind(conversation)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(conversation.is_some())
}

pub(super) async fn expire(connection: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    let expired = sqlx::query("DELETE FROM conversation WHERE used_at < ?1").bind(oldest(now));
    expired.execute(connection).await.map(drop)
}

/// Gives some of the space of what was removed back to the disk.
pub(super) async fn shrink(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    if free >= SHRINK_PAGES {
        sqlx::raw_sql("PRAGMA incremental_vacuum(2000)").execute(connection).await?;
    }
    Ok(())
}

/// Time before which a conversation has expired.
fn oldest(now: i64) -> i64 {
    now.saturating_sub_unsigned(RETENTION.as_secs())
}

fn stored(row: &SqliteRow) -> sqlx::Result<StoredResponse> {
    let id = |text: String| ResponseId::parse(&text).ok_or_else(|| damaged("an id of another form"));
    Ok(StoredResponse {
        id: id(row.try_get(0)?)?,
        previous: row.try_get::<Option<String>, _>(1)?.map(id).transpose()?,
        is_finished: row.try_get(2)?,
        input: row.try_get(3)?,
        body: row.try_get(4)?,
    })
}

/// A row that we have not written like that.
fn damaged(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

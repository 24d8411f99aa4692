//! Another generation of a collection, built document by document beside the one that is searched.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{
    super::{Chunk, CollectionName, Document, DocumentId, Embedding, Reindex, no_collection, prepare},
    Sqlite,
    failure::Outcome,
    put::{create_generation, insert_chunks},
    tables::{self, DOCUMENT, Generation, MIGRATIONS},
};
use crate::{
    error::{Error, Kind},
    sqlite::begin,
};

/// Condition that a document of collection `?1` has no chunks in generation `?2`.
const IS_PENDING: &str =
    "d.collection = ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE document = d.id AND generation = ?2)";

pub(super) async fn begin_or_continue(
    store: &Sqlite,
    name: &CollectionName,
    embedding: &Embedding,
) -> Outcome<Reindex> {
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let searched = tables::searched(&mut transaction, name).await?.ok_or_else(|| no_collection(name))?;
    let sql = "SELECT id, collection, embedding_model, dimension, version FROM generation
               WHERE collection = ?1 AND id <> ?2";
    let begun: Option<Generation> = sqlx::query_as(sql)
        .bind(searched.collection)
        .bind(searched.id)
        .fetch_optional(&mut *transaction)
        .await?;
    let generation = match begun {
        Some(begun) if begun.embedding == *embedding => begun,
        other => {
            if let Some(other) = other {
                delete(&mut transaction, other.id).await?;
            }
            create_generation(&mut transaction, searched.collection, embedding).await?
        }
    };
    transaction.commit().await?;
    Ok(Reindex { collection: name.clone(), embedding: generation.embedding, generation: generation.id })
}

pub(super) async fn pending(store: &Sqlite, reindex: &Reindex, limit: usize) -> Outcome<Vec<Document>> {
    let mut reader = store.reader().await?;
    let mut read = reader.begin().await?;
    let searched = current(&mut read, reindex).await?;
    // Only constants and question marks are in it.
    let sql = AssertSqlSafe(format!(
        "SELECT {DOCUMENT} FROM document d JOIN collection c ON c.id = d.collection
         WHERE {IS_PENDING} ORDER BY d.name LIMIT ?3"
    ));
    let found = sqlx::query_as(sql)
        .bind(searched.collection)
        .bind(reindex.generation)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Ok(found.fetch_all(&mut *read).await?)
}

pub(super) async fn put(
    store: &Sqlite,
    reindex: &Reindex,
    id: &DocumentId,
    content_hash: &str,
    mut chunks: Vec<Chunk>,
) -> Outcome<bool> {
    prepare(&mut chunks, &reindex.embedding)?;
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let searched = current(&mut transaction, reindex).await?;
    let sql = "SELECT id FROM document WHERE name = ?1 AND collection = ?2 AND content_hash = ?3";
    let document = sqlx::query_scalar(sql).bind(id.as_str()).bind(searched.collection).bind(content_hash);
    let Some(document) = document.fetch_optional(&mut *transaction).await? else { return Ok(false) };
    let sql = "DELETE FROM chunk WHERE document = ?1 AND generation = ?2";
    sqlx::query(sql).bind::<i64>(document).bind(reindex.generation).execute(&mut *transaction).await?;
    insert_chunks(&mut transaction, reindex.generation, document, chunks).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(super) async fn finish(store: &Sqlite, reindex: &Reindex) -> Outcome<u64> {
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let old = current(&mut transaction, reindex).await?;
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM document d WHERE {IS_PENDING}"));
    let pending: i64 = sqlx::query_scalar(sql)
        .bind(old.collection)
        .bind(reindex.generation)
        .fetch_one(&mut *transaction)
        .await?;
    if pending > 0 {
        return Ok(pending.unsigned_abs());
    }
    let sql = "UPDATE collection SET searched = ?2 WHERE id = ?1";
    sqlx::query(sql).bind(old.collection).bind(reindex.generation).execute(&mut *transaction).await?;
    delete(&mut transaction, old.id).await?;
    transaction.commit().await?;
    drop(writer);
    store.indexes.remove(old.id);
    store.shrink().await;
    Ok(0)
}

pub(super) async fn abandon(store: &Sqlite, reindex: &Reindex) -> Outcome<()> {
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    if current(&mut transaction, reindex).await.is_err() {
        return Ok(());
    }
    delete(&mut transaction, reindex.generation).await?;
    transaction.commit().await?;
    drop(writer);
    store.shrink().await;
    Ok(())
}

/// The generation that is searched while this one is being built.
async fn current(connection: &mut SqliteConnection, reindex: &Reindex) -> Outcome<Generation> {
    let searched = tables::searched(&mut *connection, &reindex.collection).await?;
    let searched = searched.ok_or_else(|| no_collection(&reindex.collection))?;
    let sql = "SELECT 1 FROM generation WHERE id = ?1 AND collection = ?2 AND id <> ?3";
    let built = sqlx::query(sql).bind(reindex.generation).bind(searched.collection).bind(searched.id);
    if built.fetch_optional(connection).await?.is_none() {
        let message = format!(
            "This reindex of the collection \"{}\" was finished, discarded or replaced by another one.",
            reindex.collection
        );
        return Err(Error::new(Kind::NotFound, message).into());
    }
    Ok(searched)
}

/// Deletes a generation with its chunks.
async fn delete(connection: &mut SqliteConnection, generation: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM generation WHERE id = ?1").bind(generation).execute(connection).await?;
    Ok(())
}

//! Collections and documents: listing, reading and deleting them.

use sqlx::{AssertSqlSafe, Connection, FromRow, Row, sqlite::SqliteRow};

use super::{
    super::{Chunk, Collection, CollectionName, Document, DocumentId, Stats, no_collection, no_document},
    Sqlite,
    failure::Outcome,
    indexes::Change,
    put::{chunks_of, raise_version},
    tables::{self, DOCUMENT, Generation, MIGRATIONS, count},
};
use crate::sqlite::begin;

impl FromRow<'_, SqliteRow> for Collection {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let is_building = row.try_get::<Option<i64>, _>("new_dimension")?.is_some();
        Ok(Self {
            name: tables::collection_name(row.try_get("name")?)?,
            embedding: tables::embedding(row, "embedding_model", "dimension")?,
            reindexing: is_building
                .then(|| tables::embedding(row, "new_model", "new_dimension"))
                .transpose()?,
            documents_count: count(row, "documents")?,
            chunks_count: count(row, "chunks")?,
        })
    }
}

/// The collections by name, or only the one of this name.
pub(super) async fn collections(store: &Sqlite, only: Option<&CollectionName>) -> Outcome<Vec<Collection>> {
    let mut reader = store.reader().await?;
    let found = sqlx::query_as(
        "SELECT c.name, g.embedding_model, g.dimension,
                n.embedding_model AS new_model, n.dimension AS new_dimension,
                (SELECT count(*) FROM document WHERE collection = c.id) AS documents,
                (SELECT count(*) FROM chunk WHERE generation = c.searched) AS chunks
         FROM collection c JOIN generation g ON g.id = c.searched
         LEFT JOIN generation n ON n.collection = c.id AND n.id <> c.searched
         WHERE ?1 IS NULL OR c.name = ?1 ORDER BY c.name",
    );
    Ok(found.bind(only.map(CollectionName::as_str)).fetch_all(&mut *reader).await?)
}

pub(super) async fn collection(store: &Sqlite, name: &CollectionName) -> Outcome<Collection> {
    Ok(collections(store, Some(name)).await?.pop().ok_or_else(|| no_collection(name))?)
}

pub(super) async fn delete_collection(store: &Sqlite, name: &CollectionName) -> Outcome<()> {
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let generation = tables::searched(&mut transaction, name).await?.ok_or_else(|| no_collection(name))?;
    let sql = "DELETE FROM collection WHERE id = ?1";
    sqlx::query(sql).bind(generation.collection).execute(&mut *transaction).await?;
    transaction.commit().await?;
    drop(writer);
    store.indexes.remove(generation.id);
    store.shrink().await;
    Ok(())
}

pub(super) async fn documents(
    store: &Sqlite,
    name: &CollectionName,
    after: Option<&DocumentId>,
    limit: usize,
) -> Outcome<Vec<Document>> {
    let mut reader = store.reader().await?;
    let mut read = reader.begin().await?;
    let generation = tables::searched(&mut read, name).await?.ok_or_else(|| no_collection(name))?;
    // Only constants and question marks are in it.
    let sql = AssertSqlSafe(format!(
        "SELECT {DOCUMENT} FROM document d JOIN collection c ON c.id = d.collection
         WHERE d.collection = ?1 AND d.name > ?2 ORDER BY d.name LIMIT ?3"
    ));
    let found = sqlx::query_as(sql)
        .bind(generation.collection)
        // No id is empty.
        .bind(after.map_or("", DocumentId::as_str))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Ok(found.fetch_all(&mut *read).await?)
}

pub(super) async fn document(store: &Sqlite, id: &DocumentId) -> Outcome<Document> {
    let mut reader = store.reader().await?;
    let sql = AssertSqlSafe(format!(
        "SELECT {DOCUMENT} FROM document d JOIN collection c ON c.id = d.collection WHERE d.name = ?1"
    ));
    let found = sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&mut *reader).await?;
    Ok(found.ok_or_else(|| no_document(id))?)
}

pub(super) async fn content(store: &Sqlite, id: &DocumentId) -> Outcome<String> {
    let mut reader = store.reader().await?;
    let found = sqlx::query_scalar("SELECT content FROM document WHERE name = ?1").bind(id.as_str());
    Ok(found.fetch_optional(&mut *reader).await?.ok_or_else(|| no_document(id))?)
}

pub(super) async fn chunks(store: &Sqlite, id: &DocumentId) -> Outcome<Vec<Chunk>> {
    let mut reader = store.reader().await?;
    let sql = "SELECT k.char_start, k.char_end, k.metadata, k.content, v.value, g.dimension
               FROM document d JOIN collection c ON c.id = d.collection JOIN generation g ON g.id = c.searched
               JOIN chunk k ON k.document = d.id AND k.generation = g.id JOIN vector v ON v.chunk = k.id
               WHERE d.name = ?1 ORDER BY k.position";
    let found: Vec<Chunk> = sqlx::query_as(sql).bind(id.as_str()).fetch_all(&mut *reader).await?;
    if found.is_empty() { Err(no_document(id).into()) } else { Ok(found) }
}

impl FromRow<'_, SqliteRow> for Chunk {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let dimension = usize::try_from(count(row, "dimension")?).unwrap_or(usize::MAX);
        Ok(Self {
            char_start: count(row, "char_start")?,
            char_end: count(row, "char_end")?,
            content: row.try_get("content")?,
            metadata: tables::metadata(row.try_get("metadata")?)?,
            vector: tables::vector(row.try_get("value")?, dimension)?,
        })
    }
}

pub(super) async fn delete_document(store: &Sqlite, id: &DocumentId) -> Outcome<()> {
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let sql = "SELECT d.id AS document, g.id, g.collection, g.embedding_model, g.dimension, g.version
               FROM document d JOIN collection c ON c.id = d.collection JOIN generation g ON g.id = c.searched
               WHERE d.name = ?1";
    let found = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut *transaction).await?;
    let row = found.ok_or_else(|| no_document(id))?;
    let (document, generation) = (row.try_get("document")?, Generation::from_row(&row)?);
    let removed = chunks_of(&mut transaction, generation.id, document).await?;
    sqlx::query("DELETE FROM document WHERE id = ?1").bind(document).execute(&mut *transaction).await?;
    let version = raise_version(&mut transaction, generation.id).await?;
    let change = Change { generation, version, removed, added: Vec::new() };
    Ok(store.publish(transaction, &change).await?)
}

/// Reads from the file, which is not made for it.
pub(super) async fn check(store: &Sqlite) -> Outcome<()> {
    if !store.is_missing().await? {
        let mut reader = store.reader().await?;
        sqlx::query("SELECT 1 FROM collection LIMIT 1").fetch_optional(&mut *reader).await?;
    }
    Ok(())
}

pub(super) async fn stats(store: &Sqlite) -> Outcome<Stats> {
    if store.is_missing().await? {
        return Ok(Stats::default());
    }
    let mut reader = store.reader().await?;
    let sql = "SELECT (SELECT count(*) FROM collection) AS collections, (SELECT count(*) FROM document) AS documents,
                      (SELECT count(*) FROM collection c JOIN chunk ON generation = c.searched) AS chunks";
    let row = sqlx::query(sql).fetch_one(&mut *reader).await?;
    Ok(Stats {
        collections: count(&row, "collections")?,
        documents: count(&row, "documents")?,
        chunks: count(&row, "chunks")?,
        bytes: store.database.file.bytes().await,
    })
}

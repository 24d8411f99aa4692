//! Storing a document: one transaction, from the old version to the new one.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::{
    super::{
        Chunk, CollectionName, DocumentId, Embedding, NewDocument, Previous, Stored, content_hash, metadata,
        metadata::Metadata, other_embedding, prepare,
    },
    Sqlite, facts,
    failure::Outcome,
    indexes::Change,
    keywords::scope,
    tables::{self, Generation, MIGRATIONS, vector_bytes},
};
use crate::{error::Error, sqlite::begin};

/// Rows for each statement; their number is part of its text.
const BATCH: usize = 32;

/// A document that is there already.
struct Existing {
    number: i64,
    id: DocumentId,
}

pub(super) async fn put(
    store: &Sqlite,
    name: &CollectionName,
    embedding: &Embedding,
    mut document: NewDocument,
) -> Outcome<Stored> {
    metadata::check(&document.metadata)?;
    prepare(&mut document.chunks, embedding)?;
    let hash = content_hash(&document.content);
    let mut writer = store.writer().await?;
    let mut transaction = begin(&mut writer, MIGRATIONS).await?;
    let generation = match tables::searched(&mut transaction, name).await? {
        Some(generation) if generation.embedding == *embedding => generation,
        Some(generation) => return Err(other_embedding(name, &generation.embedding, embedding).into()),
        None => create_collection(&mut transaction, name, embedding).await?,
    };
    let existing =
        existing(&mut transaction, Some(generation.collection), document.id.as_ref(), &hash).await?;
    let (mut removed, replaced) = (Vec::new(), existing.is_some());
    let existing = match existing {
        Some(existing) => {
            removed = take_out(&mut transaction, &generation, existing.number).await?;
            update(&mut transaction, existing.number, &document, &hash).await?;
            existing
        }
        None => insert(&mut transaction, &generation, &document, &hash).await?,
    };
    insert_document_facts(&mut transaction, &generation, existing.number, &document).await?;
    let chunk_ids = (0..document.chunks.len()).map(|index| existing.id.chunk(index)).collect();
    let added = insert_chunks(&mut transaction, generation.id, existing.number, document.chunks).await?;
    let version = raise_version(&mut transaction, generation.id).await?;
    store.publish(transaction, &Change { generation, version, removed, added }).await?;
    Ok(Stored { id: existing.id, chunk_ids, replaced })
}

pub(super) async fn previous(
    store: &Sqlite,
    name: &CollectionName,
    id: Option<&DocumentId>,
    content: &str,
) -> Outcome<Option<Previous>> {
    let mut reader = store.reader().await?;
    let mut read = sqlx::Connection::begin(&mut *reader).await?;
    let generation = tables::searched(&mut read, name).await?;
    let collection = generation.as_ref().map(|generation| generation.collection);
    let existing = existing(&mut read, collection, id, &content_hash(content)).await?;
    let (Some(generation), Some(existing)) = (generation, existing) else { return Ok(None) };
    let rows = sqlx::query(
        "SELECT c.content, v.value FROM chunk c JOIN vector v ON v.chunk = c.id
         WHERE c.document = ?1 AND c.generation = ?2",
    );
    let rows = rows.bind(existing.number).bind(generation.id).fetch_all(&mut *read).await?;
    let mut vectors = HashMap::with_capacity(rows.len());
    for row in rows {
        let vector = tables::vector(row.try_get(1)?, generation.embedding.dimension)?;
        vectors.insert(row.try_get(0)?, vector);
    }
    Ok(Some(Previous { id: existing.id, embedding: generation.embedding, vectors }))
}

/// Makes a collection, whose first generation is searched.
async fn create_collection(
    connection: &mut SqliteConnection,
    name: &CollectionName,
    embedding: &Embedding,
) -> sqlx::Result<Generation> {
    let sql = "INSERT INTO collection (name) VALUES (?1) RETURNING id";
    let collection = sqlx::query_scalar(sql).bind(name.as_str()).fetch_one(&mut *connection).await?;
    let generation = create_generation(connection, collection, embedding).await?;
    let sql = "UPDATE collection SET searched = ?2 WHERE id = ?1";
    sqlx::query(sql).bind(collection).bind(generation.id).execute(connection).await?;
    Ok(generation)
}

pub(super) async fn create_generation(
    connection: &mut SqliteConnection,
    collection: i64,
    embedding: &Embedding,
) -> sqlx::Result<Generation> {
    let dimension = i64::try_from(embedding.dimension).unwrap_or(i64::MAX);
    sqlx::query_as(
        "INSERT INTO generation (collection, embedding_model, dimension) VALUES (?1, ?2, ?3)
         RETURNING id, collection, embedding_model, dimension, version",
    )
    .bind(collection)
    .bind(&embedding.model)
    .bind(dimension)
    .fetch_one(connection)
    .await
}

/// Finds the document that one with this id and content replaces.
async fn existing(
    connection: &mut SqliteConnection,
    collection: Option<i64>,
    id: Option<&DocumentId>,
    hash: &str,
) -> Outcome<Option<Existing>> {
    let Some(id) = id else {
        let sql =
            "SELECT id, name FROM document WHERE collection = ?1 AND content_hash = ?2 ORDER BY id LIMIT 1";
        let found: Option<(i64, String)> =
            sqlx::query_as(sql).bind(collection).bind(hash).fetch_optional(connection).await?;
        let Some((number, name)) = found else { return Ok(None) };
        return Ok(Some(Existing { number, id: tables::document_id(name)? }));
    };
    let sql = "SELECT d.id, d.collection, c.name FROM document d JOIN collection c ON c.id = d.collection
               WHERE d.name = ?1";
    let found: Option<(i64, i64, String)> =
        sqlx::query_as(sql).bind(id.as_str()).fetch_optional(connection).await?;
    match found {
        None => Ok(None),
        Some((number, of, _)) if collection == Some(of) => Ok(Some(Existing { number, id: id.clone() })),
        Some((_, _, other)) => {
            let detail = format!("belongs to a document of another collection: {other}");
            Err(Error::field("/document_id", detail).into())
        }
    }
}

/// Removes a document's chunks, those under construction included, and its facts. Returns the ids of the chunks that
/// were searched.
async fn take_out(
    connection: &mut SqliteConnection,
    generation: &Generation,
    document: i64,
) -> sqlx::Result<Vec<i64>> {
    let removed = chunks_of(connection, generation.id, document).await?;
    for sql in ["DELETE FROM chunk WHERE document = ?1", "DELETE FROM document_fact WHERE document = ?1"] {
        sqlx::query(sql).bind(document).execute(&mut *connection).await?;
    }
    Ok(removed)
}

/// Ids of a document's chunks, ascending.
pub(super) async fn chunks_of(
    connection: &mut SqliteConnection,
    generation: i64,
    document: i64,
) -> sqlx::Result<Vec<i64>> {
    let sql = "SELECT id FROM chunk WHERE document = ?1 AND generation = ?2 ORDER BY id";
    sqlx::query_scalar(sql).bind(document).bind(generation).fetch_all(connection).await
}

async fn insert(
    connection: &mut SqliteConnection,
    generation: &Generation,
    document: &NewDocument,
    hash: &str,
) -> sqlx::Result<Existing> {
    let id = document.id.clone().unwrap_or_else(DocumentId::random);
    let sql = "INSERT INTO document (collection, name, title, metadata, content_hash, created_at, updated_at, content)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) RETURNING id";
    let number = sqlx::query_scalar(sql)
        .bind(generation.collection)
        .bind(id.as_str())
        .bind(&document.title)
        .bind(json(&document.metadata))
        .bind(hash)
        .bind(Timestamp::now().as_millisecond())
        .bind(&document.content)
        .fetch_one(connection)
        .await?;
    Ok(Existing { number, id })
}

async fn update(
    connection: &mut SqliteConnection,
    number: i64,
    document: &NewDocument,
    hash: &str,
) -> sqlx::Result<()> {
    let sql =
        "UPDATE document SET title = ?2, metadata = ?3, content_hash = ?4, updated_at = ?5, content = ?6
               WHERE id = ?1";
    sqlx::query(sql)
        .bind(number)
        .bind(&document.title)
        .bind(json(&document.metadata))
        .bind(hash)
        .bind(Timestamp::now().as_millisecond())
        .bind(&document.content)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_document_facts(
    connection: &mut SqliteConnection,
    generation: &Generation,
    number: i64,
    document: &NewDocument,
) -> sqlx::Result<()> {
    let shown = metadata::of_document(&document.metadata, document.title.as_deref());
    let facts: Vec<(i64, Metadata)> = vec![(number, shown)];
    let into = "INSERT OR IGNORE INTO document_fact (collection, path, kind, value, document) ";
    facts::insert_facts(connection, into, generation.collection, &facts).await
}

/// Inserts chunks with their vectors, words and facts. Returns their ids, ascending, with their vectors.
pub(super) async fn insert_chunks(
    connection: &mut SqliteConnection,
    generation: i64,
    document: i64,
    chunks: Vec<Chunk>,
) -> sqlx::Result<Vec<(i64, Vec<f32>)>> {
    let sql = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'chunk'";
    let first: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    let numbered: Vec<(i64, i64, Chunk)> = chunks
        .into_iter()
        .zip(first..)
        .zip(0..)
        .map(|((chunk, id), position)| (id, position, chunk))
        .collect();
    for batch in numbered.chunks(BATCH) {
        insert_batch(connection, generation, document, batch).await?;
    }
    let facts: Vec<_> = numbered.iter().map(|(id, _, chunk)| (*id, chunk.metadata.clone())).collect();
    let into = "INSERT OR IGNORE INTO chunk_fact (generation, path, kind, value, chunk) ";
    facts::insert_facts(connection, into, generation, &facts).await?;
    Ok(numbered.into_iter().map(|(id, _, chunk)| (id, chunk.vector)).collect())
}

async fn insert_batch(
    connection: &mut SqliteConnection,
    generation: i64,
    document: i64,
    batch: &[(i64, i64, Chunk)],
) -> sqlx::Result<()> {
    let mut rows = QueryBuilder::new(
        "INSERT INTO chunk (id, generation, document, position, char_start, char_end, metadata, content) ",
    );
    rows.push_values(batch, |mut row, (id, position, chunk)| {
        let [start, end] = [chunk.char_start, chunk.char_end].map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        row.push_bind(*id).push_bind(generation).push_bind(document).push_bind(*position);
        row.push_bind(start).push_bind(end).push_bind(json(&chunk.metadata)).push_bind(chunk.content.clone());
    });
    rows.build().execute(&mut *connection).await?;
    let mut vectors = QueryBuilder::new("INSERT INTO vector (chunk, generation, value) ");
    vectors.push_values(batch, |mut row, (id, _, chunk)| {
        row.push_bind(*id).push_bind(generation).push_bind(vector_bytes(&chunk.vector));
    });
    vectors.build().execute(&mut *connection).await?;
    let mut words = QueryBuilder::new("INSERT INTO chunk_text (rowid, scope, content) ");
    words.push_values(batch, |mut row, (id, _, chunk)| {
        row.push_bind(*id).push_bind(scope(generation)).push_bind(chunk.content.clone());
    });
    words.build().execute(connection).await?;
    Ok(())
}

/// Marks a generation as changed, and returns its new version.
pub(super) async fn raise_version(connection: &mut SqliteConnection, generation: i64) -> sqlx::Result<i64> {
    let sql = "UPDATE generation SET version = version + 1 WHERE id = ?1 RETURNING version";
    sqlx::query_scalar(sql).bind(generation).fetch_one(connection).await
}

fn json(metadata: &Metadata) -> String {
    serde_json::Value::from(metadata.clone()).to_string()
}

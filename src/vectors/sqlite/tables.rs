//! Tables of the file, and what more than one kind of statement needs of them.

use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::super::{CollectionName, Document, DocumentId, Embedding, Metadata};
use crate::sqlite::{Database, SqliteFile};

/// Files are never changed once they have been released: old files have had them as they were.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001-documents.sql")];

pub(super) fn database(path: PathBuf) -> Database {
    let file = SqliteFile { path, log_bytes: 16 << 20, memory_kilobytes: 8000 };
    Database { file, migrations: MIGRATIONS }
}

/// A generation with its collection.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) id: i64,
    pub(super) collection: i64,
    pub(super) embedding: Embedding,
    pub(super) version: i64,
}

impl FromRow<'_, SqliteRow> for Generation {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let embedding = embedding(row, "embedding_model", "dimension")?;
        Ok(Self {
            id: row.try_get("id")?,
            collection: row.try_get("collection")?,
            embedding,
            version: row.try_get("version")?,
        })
    }
}

pub(super) fn embedding(row: &SqliteRow, model: &str, dimension: &str) -> sqlx::Result<Embedding> {
    let dimension = usize::try_from(row.try_get::<i64, _>(dimension)?).map_err(damaged)?;
    Ok(Embedding { model: row.try_get(model)?, dimension })
}

/// The generation of a collection that is searched; None when there is no such collection.
pub(super) async fn searched(
    connection: &mut SqliteConnection,
    name: &CollectionName,
) -> sqlx::Result<Option<Generation>> {
    sqlx::query_as(
        "SELECT g.id, g.collection, g.embedding_model, g.dimension, g.version
         FROM collection c JOIN generation g ON g.id = c.searched WHERE c.name = ?1",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await
}

/// Columns of a `Document`, from `document d JOIN collection c`.
pub(super) const DOCUMENT: &str = "d.name, c.name AS collection, d.title, d.metadata, d.content_hash,
    octet_length(d.content) AS content_bytes, d.created_at, d.updated_at,
    (SELECT count(*) FROM chunk WHERE document = d.id AND generation = c.searched) AS chunks";

impl FromRow<'_, SqliteRow> for Document {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: document_id(row.try_get("name")?)?,
            collection: collection_name(row.try_get("collection")?)?,
            title: row.try_get("title")?,
            metadata: metadata(row.try_get("metadata")?)?,
            content_hash: row.try_get("content_hash")?,
            content_bytes: count(row, "content_bytes")?,
            chunks_count: count(row, "chunks")?,
            created_at: timestamp(row.try_get("created_at")?)?,
            updated_at: timestamp(row.try_get("updated_at")?)?,
        })
    }
}

pub(super) fn document_id(name: String) -> sqlx::Result<DocumentId> {
    DocumentId::new(name).map_err(damaged)
}

pub(super) fn collection_name(name: String) -> sqlx::Result<CollectionName> {
    CollectionName::new(name).map_err(damaged)
}

pub(super) fn metadata(json: &str) -> sqlx::Result<Metadata> {
    serde_json::from_str(json).map_err(damaged)
}

pub(super) fn count(row: &SqliteRow, column: &str) -> sqlx::Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(damaged)
}

fn timestamp(milliseconds: i64) -> sqlx::Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(damaged)
}

pub(super) fn vector_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn vector(bytes: &[u8], dimension: usize) -> sqlx::Result<Vec<f32>> {
    let (values, rest) = bytes.as_chunks::<4>();
    if values.len() != dimension || !rest.is_empty() {
        return Err(damaged("a vector of another length"));
    }
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// A list of ids as a parameter: `IN (SELECT value FROM json_each(?))`.
pub(super) fn id_list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(","))
}

/// A row that we have not written like that.
fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(source.into())
}

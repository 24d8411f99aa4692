//! `/rag/ingest`.

use std::sync::Arc;

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{collection, document_id, metadata};
use crate::{
    app::{
        App,
        rag::{Ingest, Ingested, Source},
    },
    error,
    http::{
        HttpState,
        extract::{Json, fields::Fields, object::Word},
        middleware::{auth::Caller, errors::Result},
    },
    text::chunk::Chunking,
    types::JsonText,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct IngestBody {
    /// Text of the document.
    #[schema(min_length = 1, example = "Simpleton keeps its statistics in SQLite.")]
    content: String,
    /// Object of up to 64 kB that is kept with the document, shown with its chunks, and can be filtered by.
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonText>,
    /// Collection to add the document to; it is created if it does not exist. Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    collection: Option<String>,
    /// A document with the same id is replaced. Without an id, one with the same content is replaced.
    #[schema(min_length = 1, max_length = 256)]
    document_id: Option<String>,
    #[schema(max_length = 1000)]
    title: Option<String>,
    /// Maximum characters in a chunk. Defaults to CHUNK_SIZE.
    #[schema(minimum = 1, maximum = 100_000)]
    chunk_size: Option<i64>,
    /// Maximum characters that a chunk repeats of the one before it, less than `chunk_size`. Defaults to CHUNK_OVERLAP, but at most to a fifth of `chunk_size`.
    #[schema(minimum = 0, maximum = 99_999)]
    chunk_overlap: Option<i64>,
    /// Where chunks begin and end. Defaults to `recursive`: at the largest division of the text that fits.
    #[schema(value_type = Option<ChunkingBody>)]
    chunking: Option<Word<ChunkingBody>>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChunkingBody {
    Recursive,
    Sentence,
    Markdown,
    Code,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct IngestReply {
    document_id: String,
    collection: String,
    chunks_created: usize,
    /// Chunks that the version before had, too, which were not embedded again.
    chunks_unchanged: usize,
    chunk_ids: Vec<String>,
    embedding_model: String,
}

/// Add a document, or replace it
#[utoipa::path(post, path = "/rag/ingest", tag = "Documents",
    request_body(content = IngestBody, example = json!({"content": "Simpleton keeps its statistics in SQLite.", "document_id": "about"})),
    responses((status = 200, body = IngestReply)))]
pub(in crate::http) async fn ingest(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<IngestBody>,
) -> Result<Response> {
    let ingest = body.into_ingest(&state.app)?;
    let ingested = state.app.ingest(&caller, ingest, |_| ()).await?;
    Ok(JsonReply(IngestReply::from(ingested)).into_response())
}

/// Characters that a title may have.
const MAX_TITLE: usize = 1000;

/// Fields of a document besides its content.
pub(super) struct Options {
    pub(super) metadata: Option<JsonText>,
    pub(super) collection: Option<String>,
    pub(super) document_id: Option<String>,
    pub(super) title: Option<String>,
    pub(super) chunk_size: Option<i64>,
    pub(super) chunk_overlap: Option<i64>,
    pub(super) chunking: Option<ChunkingBody>,
}

impl IngestBody {
    fn into_ingest(self, app: &App) -> error::Result<Ingest> {
        let Self { content, metadata, collection, document_id, title, chunk_size, chunk_overlap, chunking } =
            self;
        let chunking = chunking.map(|Word(chunking)| chunking);
        let mut fields = Fields::default();
        if content.trim().is_empty() {
            fields.refuse("/content", "must contain text");
        }
        Options { metadata, collection, document_id, title, chunk_size, chunk_overlap, chunking }.ingest(
            app,
            Source::Text(content),
            fields,
        )
    }
}

impl Options {
    /// The ingestion of a source, if `fields` and these are right.
    pub(super) fn ingest(self, app: &App, source: Source, mut fields: Fields) -> error::Result<Ingest> {
        let metadata = metadata(self.metadata.as_ref(), &mut fields);
        if self.title.as_ref().is_some_and(|title| title.chars().nth(MAX_TITLE).is_some()) {
            fields.refuse("/title", format!("may have at most {MAX_TITLE} characters"));
        }
        fields.finish()?;
        Ok(Ingest {
            collection: collection(app, self.collection)?,
            id: document_id(self.document_id)?,
            title: self.title,
            metadata,
            source,
            chunking: self.chunking.map(Chunking::from),
            size: app.chunk_size(self.chunk_size, self.chunk_overlap)?,
        })
    }
}

impl From<ChunkingBody> for Chunking {
    fn from(chunking: ChunkingBody) -> Self {
        match chunking {
            ChunkingBody::Recursive => Self::Recursive,
            ChunkingBody::Sentence => Self::Sentence,
            ChunkingBody::Markdown => Self::Markdown,
            ChunkingBody::Code => Self::Code,
        }
    }
}

impl From<Ingested> for IngestReply {
    fn from(ingested: Ingested) -> Self {
        let Ingested { id, collection, chunk_ids, chunks_unchanged, embedding_model } = ingested;
        Self {
            document_id: id.as_str().to_owned(),
            collection: collection.as_str().to_owned(),
            chunks_created: chunk_ids.len() - chunks_unchanged,
            chunks_unchanged,
            chunk_ids,
            embedding_model,
        }
    }
}

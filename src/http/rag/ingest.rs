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
        rag::{ChunkUnit, Ingest, Ingested, Source, Step},
    },
    error,
    http::{
        HttpState,
        extract::{Json, Room, fields::Fields, object::Word},
        middleware::{auth::Caller, errors::Result},
        reply::progress,
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
    /// Object of up to 64 kB that is stored with the document, returned with its chunks, and usable in filters.
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
    /// Unit of `chunk_size` and `chunk_overlap`: characters, or tokens of the embedding model. Defaults to CHUNK_UNIT. Tokens are not available with Ollama.
    #[schema(value_type = Option<ChunkUnitBody>)]
    chunk_unit: Option<Word<ChunkUnitBody>>,
    /// Maximum size of a chunk. Chunks that are too long for the embedding model are divided. Defaults to CHUNK_SIZE.
    #[schema(minimum = 1, maximum = 100_000)]
    chunk_size: Option<i64>,
    /// Maximum overlap of a chunk with the one before it; less than `chunk_size`. Defaults to CHUNK_OVERLAP, but at most to a fifth of `chunk_size`.
    #[schema(minimum = 0, maximum = 99_999)]
    chunk_overlap: Option<i64>,
    /// How to split the text. Defaults to `recursive`: at the largest units that fit, such as paragraphs, sentences or words.
    #[schema(value_type = Option<ChunkingBody>)]
    chunking: Option<Word<ChunkingBody>>,
    /// Send progress as server-sent events, the last of which is the reply. If the client disconnects before that, the
    /// document is not changed.
    #[schema(default = false)]
    stream: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChunkingBody {
    Recursive,
    Sentence,
    Markdown,
    Code,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChunkUnitBody {
    Characters,
    Tokens,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct IngestReply {
    document_id: String,
    collection: String,
    chunks_created: usize,
    /// Chunks that the previous version also had, and that were not embedded again.
    chunks_unchanged: usize,
    chunk_ids: Vec<String>,
    embedding_model: String,
}

/// A server-sent event. The last one also has the fields of a reply that is not streamed.
#[derive(Default, Serialize, ToSchema)]
pub(in crate::http) struct IngestEvent {
    /// `extracting` (files only), `embedding`, `storing`, and at the end `success`.
    status: &'static str,
    /// Chunks of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<usize>,
    /// Chunks that have been embedded so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedded: Option<usize>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    reply: Option<IngestReply>,
}

impl From<Step> for IngestEvent {
    fn from(step: Step) -> Self {
        match step {
            Step::Extracting => Self { status: "extracting", ..Self::default() },
            Step::Embedding { embedded, chunks } => {
                Self { status: "embedding", chunks: Some(chunks), embedded: Some(embedded), reply: None }
            }
            Step::Storing => Self { status: "storing", ..Self::default() },
        }
    }
}

/// Add or replace a document
#[utoipa::path(post, path = "/rag/ingest", tag = "Documents",
    request_body(content = IngestBody, example = json!({"content": "Simpleton keeps its statistics in SQLite.", "document_id": "about"})),
    responses((status = 200, content((IngestReply = "application/json"), (IngestEvent = "text/event-stream")))))]
pub(in crate::http) async fn ingest(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<IngestBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let ingest = body.into_ingest(&state.app)?;
    respond(state, caller, ingest, room, stream).await
}

/// Ingests, and replies as a stream or at the end.
pub(super) async fn respond(
    state: Arc<HttpState>,
    caller: Caller,
    ingest: Ingest,
    room: Room,
    stream: bool,
) -> Result<Response> {
    if !stream {
        let ingested = state.app.ingest(&caller, ingest, |_| ()).await?;
        return Ok(JsonReply(IngestReply::from(ingested)).into_response());
    }
    let (app, asker) = (Arc::clone(&state.app), caller.owned());
    let steps = progress::of_work(|reports| async move {
        let _room = room;
        let done = app.ingest(&asker, ingest, |step| reports.report(step.into())).await?;
        Ok(IngestEvent { status: "success", reply: Some(done.into()), ..IngestEvent::default() })
    });
    // The first vectors show that the model works.
    let has_begun = |event: &IngestEvent| event.embedded.is_some_and(|embedded| embedded > 0);
    progress::respond(state, caller, steps, has_begun, "ingest the document again").await
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
    pub(super) chunk_unit: Option<ChunkUnitBody>,
}

impl IngestBody {
    fn into_ingest(self, app: &App) -> error::Result<Ingest> {
        let Self {
            content,
            metadata,
            collection,
            document_id,
            title,
            chunk_size,
            chunk_overlap,
            chunking,
            chunk_unit,
            stream: _,
        } = self;
        let chunking = chunking.map(|Word(chunking)| chunking);
        let chunk_unit = chunk_unit.map(|Word(unit)| unit);
        let mut fields = Fields::default();
        if content.trim().is_empty() {
            fields.refuse("/content", "must contain text");
        }
        Options { metadata, collection, document_id, title, chunk_size, chunk_overlap, chunking, chunk_unit }
            .ingest(app, Source::Text(content), fields)
    }
}

impl Options {
    /// The ingestion of a source, if `fields` and these are right.
    pub(super) fn ingest(self, app: &App, source: Source, mut fields: Fields) -> error::Result<Ingest> {
        let metadata = metadata(self.metadata.as_ref(), &mut fields);
        if self.title.as_ref().is_some_and(|title| title.chars().nth(MAX_TITLE).is_some()) {
            fields.refuse("/title", format!("may have at most {MAX_TITLE} characters"));
        }
        let collection = fields.accept("", collection(app, self.collection));
        let id = fields.accept("", document_id(self.document_id));
        let size = fields.accept("", app.chunk_size(self.chunk_size, self.chunk_overlap));
        fields.finish()?;
        Ok(Ingest {
            collection: collection.unwrap_or_else(|| app.default_collection().clone()),
            id: id.flatten(),
            title: self.title,
            metadata,
            source,
            chunking: self.chunking.map(Chunking::from),
            size: size.unwrap_or_default(),
            unit: self.chunk_unit.map_or_else(|| app.default_chunk_unit(), ChunkUnit::from),
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

impl From<ChunkUnitBody> for ChunkUnit {
    fn from(unit: ChunkUnitBody) -> Self {
        match unit {
            ChunkUnitBody::Characters => Self::Characters,
            ChunkUnitBody::Tokens => Self::Tokens,
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

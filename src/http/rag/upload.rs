//! `/rag/upload`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as Unknown};
use utoipa::ToSchema;

use super::ingest::{ChunkUnitBody, ChunkingBody, IngestEvent, IngestReply, Options, respond};
use crate::{
    app::{
        App,
        rag::{Ingest, Source},
    },
    error,
    http::{
        HttpState,
        extract::{
            Room,
            fields::Fields,
            multipart::{Form, IngestForm},
        },
        middleware::{auth::Caller, errors::Result},
    },
    types::JsonText,
};

const WHOLE: &str = "a whole number";

/// Form fields; empty ones are ignored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documentation of a form")]
pub(in crate::http) struct RagUpload {
    /// PDF, DOCX, PPTX, XLSX, ODT, EPUB, RTF, HTML, Markdown, CSV, JSON, e-mail, source code or plain text.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// JSON object of up to 64 kB that is stored with the document, returned with its chunks, and usable in filters.
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonText>,
    /// Collection to add the document to; it is created if it does not exist. Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    collection: Option<String>,
    /// A document with the same id is replaced. Without an id, one with the same text is replaced.
    #[schema(min_length = 1, max_length = 256)]
    document_id: Option<String>,
    /// Defaults to the title in the document, or else to the name of the file.
    #[schema(max_length = 1000)]
    title: Option<String>,
    /// Unit of `chunk_size` and `chunk_overlap`: characters, or tokens of the embedding model. Defaults to CHUNK_UNIT. Tokens are not available with Ollama.
    chunk_unit: Option<ChunkUnitBody>,
    /// Maximum size of a chunk. Chunks that are too long for the embedding model are divided. Defaults to CHUNK_SIZE.
    #[schema(minimum = 1, maximum = 100_000)]
    chunk_size: Option<i64>,
    /// Maximum overlap of a chunk with the one before it; less than `chunk_size`. Defaults to CHUNK_OVERLAP, but at most to a fifth of `chunk_size`.
    #[schema(minimum = 0, maximum = 99_999)]
    chunk_overlap: Option<i64>,
    /// How to split the text. Defaults to `markdown` for a Markdown file, `code` for source code and JSON, and `recursive` for everything else.
    chunking: Option<ChunkingBody>,
    /// Send progress as server-sent events, the last of which is the reply. If the client disconnects before that, the
    /// document is not changed.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// Add or replace a document from a file
///
/// The metadata of each chunk has its `page` and the `heading` that it is under, if the file has them.
#[utoipa::path(post, path = "/rag/upload", tag = "Documents",
    request_body(content = RagUpload, content_type = "multipart/form-data"),
    responses((status = 200, content((IngestReply = "application/json"), (IngestEvent = "text/event-stream")))))]
pub(in crate::http) async fn upload(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    mut form: Form<IngestForm>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let stream = fields.truth("/stream", form.take("stream").as_deref()).unwrap_or(false);
    let (ingest, room) = ingest_of(&state.app, form, fields)?;
    respond(state, caller, ingest, room, stream).await
}

fn ingest_of(app: &App, mut form: Form<IngestForm>, mut fields: Fields) -> error::Result<(Ingest, Room)> {
    let metadata = form.take("metadata").and_then(|text| {
        let json = serde_json::from_str(&text).ok();
        if json.is_none() {
            fields.refuse("/metadata", "must be a JSON object");
        }
        json
    });
    let chunking = word(&mut form, "chunking", "recursive, sentence, markdown or code", &mut fields);
    let chunk_unit = word(&mut form, "chunk_unit", "characters or tokens", &mut fields);
    let mut number = |name: &str| fields.number(&format!("/{name}"), form.take(name).as_deref(), WHOLE);
    let (chunk_size, chunk_overlap) = (number("chunk_size"), number("chunk_overlap"));
    let options = Options {
        metadata,
        collection: form.take("collection"),
        document_id: form.take("document_id"),
        title: form.take("title"),
        chunk_size,
        chunk_overlap,
        chunking,
        chunk_unit,
    };
    let Form { file, file_name, room, .. } = form;
    let source = Source::File { bytes: file.into(), name: file_name };
    Ok((options.ingest(app, source, fields)?, room))
}

/// One of a closed set of words.
fn word<T: DeserializeOwned>(
    form: &mut Form<IngestForm>,
    name: &str,
    accepted: &str,
    fields: &mut Fields,
) -> Option<T> {
    let word = form.take(name)?;
    let read = T::deserialize(IntoDeserializer::<Unknown>::into_deserializer(word.trim())).ok();
    if read.is_none() {
        fields.refuse(format!("/{name}"), format!("must be {accepted}"));
    }
    read
}

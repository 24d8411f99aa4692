//! `/rag/documents`.

use std::sync::Arc;

use axum::{Json as JsonReply, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{collection, named::Named};
use crate::{
    http::{
        HttpState,
        extract::{Query, fields::Fields, filled},
        middleware::errors::Result,
    },
    vectors::{Document, DocumentId, Metadata},
};

const USUAL_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
const WHOLE: &str = "a whole number from 1 to 1000";

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "documentation of `Named<DocumentId>`")]
pub(in crate::http) struct IdParam {
    /// Id of the document, with each `/` written as `%2F`.
    #[param(example = "about")]
    id: String,
}

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct DocumentsQuery {
    /// Defaults to the server's default collection.
    #[serde(default, deserialize_with = "filled")]
    collection: Option<String>,
    /// Return the documents after the one with this id: the last one of the page before.
    #[serde(default, deserialize_with = "filled")]
    after: Option<String>,
    /// Maximum number of documents.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default, deserialize_with = "filled")]
    limit: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DocumentsReply {
    documents: Vec<DocumentBody>,
    /// Value of `after` for the next page; absent when this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DocumentBody {
    document_id: String,
    collection: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// As it was sent.
    #[schema(value_type = Object)]
    metadata: Metadata,
    /// SHA-256 of the text, in hexadecimal.
    content_hash: String,
    /// Bytes of the text.
    content_bytes: u64,
    chunks_count: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Document> for DocumentBody {
    fn from(document: Document) -> Self {
        Self {
            document_id: document.id.as_str().to_owned(),
            collection: document.collection.as_str().to_owned(),
            title: document.title,
            metadata: document.metadata,
            content_hash: document.content_hash,
            content_bytes: document.content_bytes,
            chunks_count: document.chunks_count,
            created_at: document.created_at,
            updated_at: document.updated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ContentReply {
    document_id: String,
    /// Text of the document; the offsets of its chunks are positions in it, in characters.
    content: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeletedDocument {
    document_id: String,
    success: bool,
}

/// List the documents of a collection
#[utoipa::path(get, path = "/rag/documents", tag = "Documents", params(DocumentsQuery),
    responses((status = 200, body = DocumentsReply)))]
pub(in crate::http) async fn list(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<DocumentsQuery>,
) -> Result<JsonReply<DocumentsReply>> {
    let mut fields = Fields::default();
    let limit = fields.number("/limit", query.limit.as_deref(), WHOLE).unwrap_or(USUAL_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        fields.refuse("/limit", format!("must be {WHOLE}"));
    }
    fields.finish()?;
    let collection = collection(&state.app, query.collection)?;
    let after =
        query.after.map(DocumentId::new).transpose().map_err(|error| error.at(|_| "/after".into()))?;
    // One more shows whether there is another page.
    let mut documents = state.app.documents(&collection, after.as_ref(), limit + 1).await?;
    let has_more = documents.len() > limit;
    documents.truncate(limit);
    let next = documents.last().filter(|_| has_more).map(|last| last.id.as_str().to_owned());
    Ok(JsonReply(DocumentsReply { documents: documents.into_iter().map(Into::into).collect(), next }))
}

/// Get a document
#[utoipa::path(get, path = "/rag/documents/{id}", tag = "Documents", params(IdParam),
    responses((status = 200, body = DocumentBody)))]
pub(in crate::http) async fn details(
    State(state): State<Arc<HttpState>>,
    Named(id): Named<DocumentId>,
) -> Result<JsonReply<DocumentBody>> {
    Ok(JsonReply(state.app.document(&id).await?.into()))
}

/// Get the text of a document
#[utoipa::path(get, path = "/rag/documents/{id}/content", tag = "Documents", params(IdParam),
    responses((status = 200, body = ContentReply)))]
pub(in crate::http) async fn content(
    State(state): State<Arc<HttpState>>,
    Named(id): Named<DocumentId>,
) -> Result<JsonReply<ContentReply>> {
    let content = state.app.document_content(&id).await?;
    Ok(JsonReply(ContentReply { document_id: id.as_str().to_owned(), content }))
}

/// Delete a document
#[utoipa::path(delete, path = "/rag/documents/{id}", tag = "Documents", params(IdParam),
    responses((status = 200, body = DeletedDocument)))]
pub(in crate::http) async fn remove(
    State(state): State<Arc<HttpState>>,
    Named(id): Named<DocumentId>,
) -> Result<JsonReply<DeletedDocument>> {
    state.app.delete_document(&id).await?;
    Ok(JsonReply(DeletedDocument { document_id: id.as_str().to_owned(), success: true }))
}

//! `/rag/collections`.

use std::sync::Arc;

use axum::{Json as JsonReply, extract::State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::named::Named;
use crate::{
    http::{HttpState, middleware::errors::Result},
    vectors::{Collection, CollectionName},
};

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "documentation of `Named<CollectionName>`")]
pub(in crate::http) struct NameParam {
    /// Name of the collection.
    #[param(example = "documents")]
    name: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CollectionsReply {
    /// By name.
    collections: Vec<CollectionBody>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CollectionBody {
    name: String,
    /// Chunks, each of which has one vector.
    vectors_count: u64,
    /// Same as `vectors_count`.
    points_count: u64,
    documents_count: u64,
    /// Model that embeds the chunks and the queries.
    embedding_model: String,
    /// Numbers in a vector.
    dimension: usize,
    /// Model to which the collection is being moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    reindexing: Option<String>,
}

impl From<Collection> for CollectionBody {
    fn from(collection: Collection) -> Self {
        let Collection { name, embedding, reindexing, documents_count, chunks_count } = collection;
        Self {
            name: name.as_str().to_owned(),
            vectors_count: chunks_count,
            points_count: chunks_count,
            documents_count,
            embedding_model: embedding.model,
            dimension: embedding.dimension,
            reindexing: reindexing.map(|embedding| embedding.model),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeletedCollection {
    collection: String,
    success: bool,
}

/// List collections
#[utoipa::path(get, path = "/rag/collections", tag = "Documents", responses((status = 200, body = CollectionsReply)))]
pub(in crate::http) async fn list(
    State(state): State<Arc<HttpState>>,
) -> Result<JsonReply<CollectionsReply>> {
    let collections = state.app.collections().await?.into_iter().map(CollectionBody::from).collect();
    Ok(JsonReply(CollectionsReply { collections }))
}

/// Get a collection
#[utoipa::path(get, path = "/rag/collections/{name}", tag = "Documents", params(NameParam),
    responses((status = 200, body = CollectionBody)))]
pub(in crate::http) async fn details(
    State(state): State<Arc<HttpState>>,
    Named(name): Named<CollectionName>,
) -> Result<JsonReply<CollectionBody>> {
    Ok(JsonReply(state.app.collection(&name).await?.into()))
}

/// Delete a collection with its documents
#[utoipa::path(delete, path = "/rag/collections/{name}", tag = "Documents", params(NameParam),
    responses((status = 200, body = DeletedCollection)))]
pub(in crate::http) async fn remove(
    State(state): State<Arc<HttpState>>,
    Named(name): Named<CollectionName>,
) -> Result<JsonReply<DeletedCollection>> {
    state.app.delete_collection(&name).await?;
    Ok(JsonReply(DeletedCollection { collection: name.as_str().to_owned(), success: true }))
}

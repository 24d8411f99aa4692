//! `/api/copy` and `/api/delete`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    error::in_ollamas_words,
    names::{parsed, required},
};
use crate::http::{HttpState, extract::Json, middleware::errors::Result};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaCopyBody {
    /// Model to copy.
    source: String,
    /// Name of the copy. A model that has it is replaced.
    destination: String,
}

/// Give a model another name, too (Ollama)
#[utoipa::path(post, path = "/api/copy", tag = "Ollama",
    request_body(content = OllamaCopyBody, example = json!({"source": "all-minilm", "destination": "mine"})),
    responses((status = 200)))]
pub(in crate::http) async fn copy(
    State(state): State<Arc<HttpState>>,
    Json(body, _): Json<OllamaCopyBody>,
) -> Result<StatusCode> {
    let source = parsed(&body.source, "/source")?.to_string();
    let destination = parsed(&body.destination, "/destination")?;
    let copied = state.app.copy_model(&source, &destination).await;
    copied.map_err(|error| in_ollamas_words(error, &body.source))?;
    Ok(StatusCode::OK)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaDeleteBody {
    model: Option<String>,
    /// Older name of `model`.
    name: Option<String>,
}

/// Delete a model, and its files that no other model uses (Ollama)
#[utoipa::path(delete, path = "/api/delete", tag = "Ollama",
    request_body(content = OllamaDeleteBody, example = json!({"model": "mine"})),
    responses((status = 200)))]
pub(in crate::http) async fn delete(
    State(state): State<Arc<HttpState>>,
    Json(body, _): Json<OllamaDeleteBody>,
) -> Result<StatusCode> {
    let name = required(body.model.as_deref(), body.name.as_deref())?.to_string();
    let removed = state.app.remove_model(&name).await;
    removed.map_err(|error| in_ollamas_words(error, &name))?;
    Ok(StatusCode::OK)
}

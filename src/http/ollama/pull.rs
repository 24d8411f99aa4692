//! `/api/pull`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::names::required;
use crate::http::{
    HttpState,
    extract::Json,
    ignored::{Ignored, IgnoredNames},
    middleware::{auth::Caller, errors::Result},
    native::pull::{PullEvent, answer},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaPullBody {
    model: Option<String>,
    /// Older name of `model`.
    name: Option<String>,
    /// Whether to send progress as lines of JSON, or one JSON object at the end.
    #[schema(default = true)]
    stream: Option<bool>,
    /// `true` has no effect: registries are asked as the server's settings say.
    insecure: Option<bool>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    username: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Ignored,
}

/// Download a model, or continue an interrupted download (Ollama)
///
/// The download stops when all clients that wait for it have left; the next one continues it.
#[utoipa::path(post, path = "/api/pull", tag = "Ollama",
    request_body(content = OllamaPullBody, example = json!({"model": "all-minilm"})),
    responses((status = 200, content((PullEvent = "application/x-ndjson"), (PullEvent = "application/json")))))]
pub(in crate::http) async fn pull(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _): Json<OllamaPullBody>,
) -> Result<Response> {
    let mut ignored = IgnoredNames::default();
    ignored.note("username", body.username);
    ignored.note("password", body.password);
    if body.insecure == Some(true) {
        ignored.add("insecure");
    }
    let name = required(body.model.as_deref(), body.name.as_deref())?;
    Ok(ignored.mark(answer(state, caller, &name, body.stream.unwrap_or(true)).await?))
}

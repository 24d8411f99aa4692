//! `/embeddings/` and `/embeddings/batch`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::schemas;
use crate::{
    cache::Embedded,
    error::{Error, Kind},
    http::{
        HttpState,
        extract::{Json, Query, body::LARGE_BYTES, fields::Fields, filled, texts::Texts},
        middleware::{auth::Caller, errors::Result},
        reply::mark,
    },
    types::{Capability, EmbedRequest},
    wire::ollama::nanos,
};

/// As many texts as OpenAI's API takes in one request.
pub(in crate::http) const MAX_TEXTS: usize = 2048;

/// Bytes of a number in JSON, with its comma; most take a little less.
pub(in crate::http) const NUMBER_BYTES: usize = 13;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EmbedBody {
    /// A text, or a list of up to 2048 texts.
    #[schema(schema_with = schemas::input)]
    input: Texts,
    /// Truncate texts that are too long for the model, instead of refusing them.
    #[schema(default = false)]
    truncate: Option<bool>,
    /// Defaults to the server's default embedding model.
    model: Option<String>,
}

/// A list of texts to embed.
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::http) struct BatchBody(Vec<String>);

impl PartialSchema for BatchBody {
    fn schema() -> RefOr<Schema> {
        schemas::texts()
    }
}

impl ToSchema for BatchBody {}

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct BatchQuery {
    /// Defaults to the server's default embedding model.
    #[serde(default, deserialize_with = "filled")]
    model: Option<String>,
    /// Truncate texts that are too long for the model, instead of refusing them.
    #[param(value_type = Option<bool>)]
    #[serde(default, deserialize_with = "filled")]
    truncate: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EmbedReplyBody {
    model: String,
    /// One vector per text, in the order of the input.
    #[schema(value_type = Vec<Vec<f32>>)]
    embeddings: Vec<Arc<[f32]>>,
    /// Indexes of the texts that were truncated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<usize>,
    /// Nanoseconds that the model took, or this request if everything was cached.
    total_duration: u64,
}

/// Create embeddings
#[utoipa::path(post, path = "/embeddings/", tag = "Embeddings",
    request_body(content = EmbedBody, example = json!({"input": ["Hello world", "Good morning"]})),
    responses((status = 200, body = EmbedReplyBody)))]
pub(in crate::http) async fn embed(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<EmbedBody>,
) -> Result<Response> {
    let (texts, pointer) = match body.input {
        Texts::One(text) => (vec![text], "/input"),
        Texts::Many(texts) => (texts, "/input/"),
    };
    let request =
        Asked { model: body.model, input: texts, truncate: body.truncate.unwrap_or(false), pointer };
    answer(&state, &caller, request).await
}

/// Create embeddings for a list of texts
#[utoipa::path(post, path = "/embeddings/batch", tag = "Embeddings", params(BatchQuery),
    request_body(content = BatchBody, example = json!(["Hello world", "Good morning"])),
    responses((status = 200, body = EmbedReplyBody)))]
pub(in crate::http) async fn batch(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Query(query): Query<BatchQuery>,
    Json(BatchBody(texts), _room): Json<BatchBody>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let truncate = fields.truth("/truncate", query.truncate.as_deref()).unwrap_or(false);
    fields.finish()?;
    answer(&state, &caller, Asked { model: query.model, input: texts, truncate, pointer: "/" }).await
}

struct Asked {
    model: Option<String>,
    input: Vec<String>,
    truncate: bool,
    /// Where the texts stand in the body; one that ends in a slash is a list.
    pointer: &'static str,
}

async fn answer(state: &HttpState, caller: &Caller, asked: Asked) -> Result<Response> {
    let Asked { model, input, truncate, pointer } = asked;
    let mut fields = Fields::default();
    if !(1..=MAX_TEXTS).contains(&input.len()) {
        fields.refuse(pointer.trim_end_matches('/'), format!("must have 1 to {MAX_TEXTS} texts"));
    }
    for index in
        input.iter().take(MAX_TEXTS).enumerate().filter(|(_, text)| text.is_empty()).map(|(index, _)| index)
    {
        let index = if pointer.ends_with('/') { index.to_string() } else { String::new() };
        fields.refuse(format!("{pointer}{index}"), "must not be empty");
    }
    fields.finish()?;
    let model = state.app.resolve(model.as_deref(), Capability::Embedding).await?;
    let request = EmbedRequest { model: model.clone(), input, truncate, keep_alive: None };
    // Further in they are a list, `/input`, whatever they are here.
    let place = |inner: &str| match inner.strip_prefix("/input") {
        Some(index) if pointer.ends_with('/') => format!("{}{index}", pointer.trim_end_matches('/')),
        Some(_) => pointer.to_owned(),
        None => inner.to_owned(),
    };
    let Embedded { vectors, truncated, call, cache_status } =
        state.app.embed(caller, request).await.map_err(|error| error.at(place))?;
    let measured = call.map(|call| call.timings.total).filter(|total| !total.is_zero());
    let total_duration = nanos(measured.unwrap_or_else(|| caller.recorder.elapsed()));
    let bytes = 256 + vectors.iter().map(|vector| vector.len() * NUMBER_BYTES).sum::<usize>();
    let reply = EmbedReplyBody { model, embeddings: vectors, truncated, total_duration };
    let mut response = render(bytes, || reply).await?;
    mark(response.headers_mut(), &cache_status);
    Ok(response)
}

/// Most of the cost of a cached embedding is serialising it, so it is done in one piece; many of them on a
/// thread for blocking work. `bytes` is about the length of the reply.
pub(in crate::http) async fn render<T: Serialize>(
    bytes: usize,
    reply: impl FnOnce() -> T + Send + 'static,
) -> Result<Response> {
    let write = move || {
        let mut json = Vec::with_capacity(bytes);
        serde_json::to_writer(&mut json, &reply()).expect("texts and numbers, and a Vec takes them all");
        json
    };
    let json = if bytes > LARGE_BYTES {
        spawn_blocking(write).await.map_err(|source| {
            Error::new(Kind::Internal, "The embeddings could not be serialized.").with_source(source)
        })?
    } else {
        write()
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

//! `/api/embed` and `/api/embeddings`, its older form.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{error::in_ollamas_words, names::named, names::resolve, options::OllamaOptions};
use crate::{
    cache::Embedded,
    http::{
        HttpState,
        extract::{Json, fields::Fields, object::Object, texts::Texts},
        ignored::IgnoredNames,
        middleware::{auth::Caller, errors::Result},
        native::{
            embeddings::{MAX_TEXTS, NUMBER_BYTES, render},
            inference::keep_alive,
            schemas,
        },
        openai::embeddings::{length, shortened},
        reply::mark,
    },
    types::{Capability, EmbedRequest, KeepAlive, LoadOptions},
    wire::ollama::nanos,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaEmbedBody {
    /// Defaults to the server's default embedding model.
    model: Option<String>,
    /// A text, or a list of up to 2048 texts. Without any the model is loaded.
    #[schema(schema_with = schemas::input)]
    input: Option<Texts>,
    /// Truncate texts that are too long for the model, instead of refusing them.
    #[schema(default = true)]
    truncate: Option<bool>,
    /// Length of the vectors. Shorter ones than usual need a model that was trained for them.
    #[schema(minimum = 1)]
    dimensions: Option<i64>,
    /// Have no effect.
    #[schema(value_type = Option<OllamaOptions>)]
    options: Option<Object<OllamaOptions>>,
    /// Time to keep the model loaded: seconds, a duration (`5m`), or -1 to keep it forever.
    #[serde(default, deserialize_with = "keep_alive")]
    #[schema(schema_with = schemas::keep_alive)]
    keep_alive: Option<KeepAlive>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OllamaEmbeddingsBody {
    /// Defaults to the server's default embedding model.
    model: Option<String>,
    /// Without one the model is loaded.
    prompt: Option<String>,
    /// Have no effect.
    #[schema(value_type = Option<OllamaOptions>)]
    options: Option<Object<OllamaOptions>>,
    /// Time to keep the model loaded: seconds, a duration (`5m`), or -1 to keep it forever.
    #[serde(default, deserialize_with = "keep_alive")]
    #[schema(schema_with = schemas::keep_alive)]
    keep_alive: Option<KeepAlive>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaEmbedReply {
    model: String,
    /// One vector per text, in the order of the input.
    #[schema(value_type = Vec<Vec<f32>>)]
    embeddings: Vec<Arc<[f32]>>,
    /// Nanoseconds that the model took, or this request if everything was cached.
    total_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    /// Tokens that the model has read; cached texts count as none.
    prompt_eval_count: u64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaEmbeddingsReply {
    #[schema(value_type = Vec<f32>)]
    embedding: Arc<[f32]>,
}

/// Create embeddings (Ollama)
#[utoipa::path(post, path = "/api/embed", tag = "Ollama",
    request_body(content = OllamaEmbedBody, example = json!({"input": ["Hello world", "Good morning"]})),
    responses((status = 200, body = OllamaEmbedReply)))]
pub(in crate::http) async fn embed(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<OllamaEmbedBody>,
) -> Result<Response> {
    let OllamaEmbedBody { model, input, truncate, dimensions, options, keep_alive } = body;
    let (input, pointer) = match input {
        None => (Vec::new(), "/input"),
        Some(Texts::One(text)) => {
            (Some(text).filter(|text| !text.is_empty()).into_iter().collect(), "/input")
        }
        Some(Texts::Many(texts)) => (texts, "/input/"),
    };
    let ask = Ask { model, input, pointer, truncate: truncate.unwrap_or(true), keep_alive, options };
    let (embedded, model, ignored) = ask.answer(&state, &caller).await?;
    let dimensions = length(dimensions.filter(|length| *length > 0), &embedded, &model, &state.app).await?;
    let Embedded { vectors, call, cache_status, .. } = embedded;
    let measured = call.as_ref().map(|call| call.timings.total).filter(|total| !total.is_zero());
    let bytes = 256 + vectors.iter().map(|vector| vector.len() * NUMBER_BYTES).sum::<usize>();
    let reply = OllamaEmbedReply {
        model,
        embeddings: vectors.into_iter().map(|vector| shortened(vector, dimensions)).collect(),
        total_duration: nanos(measured.unwrap_or_else(|| caller.recorder.elapsed())),
        load_duration: call.as_ref().map(|call| nanos(call.timings.load)),
        prompt_eval_count: call.map_or(0, |call| call.prompt_tokens),
    };
    let mut response = render(bytes, || reply).await?;
    mark(response.headers_mut(), &cache_status);
    Ok(ignored.mark(response))
}

/// Create an embedding (Ollama's older API)
#[utoipa::path(post, path = "/api/embeddings", tag = "Ollama",
    request_body(content = OllamaEmbeddingsBody, example = json!({"prompt": "Hello world"})),
    responses((status = 200, body = OllamaEmbeddingsReply)))]
pub(in crate::http) async fn embeddings(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<OllamaEmbeddingsBody>,
) -> Result<Response> {
    let OllamaEmbeddingsBody { model, prompt, options, keep_alive } = body;
    let input = prompt.filter(|prompt| !prompt.is_empty()).into_iter().collect();
    let ask = Ask { model, input, pointer: "/prompt", truncate: false, keep_alive, options };
    let (Embedded { vectors, cache_status, .. }, _, ignored) = ask.answer(&state, &caller).await?;
    let embedding = vectors.into_iter().next().unwrap_or_default();
    let mut response = render(embedding.len() * NUMBER_BYTES, || OllamaEmbeddingsReply { embedding }).await?;
    mark(response.headers_mut(), &cache_status);
    Ok(ignored.mark(response))
}

/// Request of either endpoint.
struct Ask {
    model: Option<String>,
    input: Vec<String>,
    /// Where the texts stand in the body; one that ends in a slash is a list.
    pointer: &'static str,
    truncate: bool,
    keep_alive: Option<KeepAlive>,
    options: Option<Object<OllamaOptions>>,
}

impl Ask {
    /// The vectors, the model as the client calls it, and the names of what has no effect.
    async fn answer(self, state: &HttpState, caller: &Caller) -> Result<(Embedded, String, IgnoredNames)> {
        let Self { model, input, pointer, truncate, keep_alive, options } = self;
        let mut ignored = IgnoredNames::default();
        if let Some(Object(options)) = options {
            options.note_all(&mut ignored);
        }
        let mut fields = Fields::default();
        if input.len() > MAX_TEXTS {
            fields.refuse("/input", format!("may have at most {MAX_TEXTS} texts"));
        }
        for index in
            input.iter().take(MAX_TEXTS).enumerate().filter(|(_, text)| text.is_empty()).map(|(at, _)| at)
        {
            fields.refuse(format!("{pointer}{index}"), "must not be empty");
        }
        fields.finish()?;
        let asked = named(model.as_deref(), None);
        let model = resolve(&state.app, asked, &[Capability::Embedding], "embed").await?;
        let name = asked.unwrap_or(&model).to_owned();
        if input.is_empty() {
            let options = LoadOptions { keep_alive, context: None };
            let mut loaded = state
                .app
                .load(caller, model, options)
                .await
                .map_err(|error| in_ollamas_words(error, &name))?;
            loaded.collect().await?;
            let embedded = Embedded {
                vectors: Vec::new(),
                truncated: Vec::new(),
                call: None,
                cache_status: loaded.cache_status,
            };
            return Ok((embedded, name, ignored));
        }
        let place = |inner: &str| match inner.strip_prefix("/input") {
            Some(index) if pointer.ends_with('/') => format!("{}{index}", pointer.trim_end_matches('/')),
            Some(_) => pointer.to_owned(),
            None => inner.to_owned(),
        };
        let request = EmbedRequest { model, input, truncate, keep_alive };
        let embedded = state
            .app
            .embed(caller, request)
            .await
            .map_err(|error| in_ollamas_words(error.at(place), &name))?;
        Ok((embedded, name, ignored))
    }
}

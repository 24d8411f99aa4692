//! `/v1/messages`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    betas::{BetaParam, Betas},
    body::body,
    error::THREAD_UNSUPPORTED,
    reply::{AnthropicMessage, MessageEncoder, MessageEvent},
};
use crate::{
    error::{self, Error},
    http::{
        HttpState,
        extract::{Json, fields::Fields, texts::Texts},
        ignored::{Ignored, IgnoredNames},
        middleware::{auth::Caller, errors::Result},
        native::inference::STOP_LIMITS,
        reply::respond,
    },
    types::Sampling,
};

body! {
    struct MessagesBody {
        /// Maximum number of tokens to generate, including those of reasoning.
        #[schema(minimum = 1, maximum = 2147483647)]
        max_tokens: i64,
        /// Stream the response as server-sent events.
        #[schema(default = false)]
        stream: Option<bool>,
        /// Sampling temperature, from 0 (always the most likely token) to 1. Defaults to the model's own, or else 0.7.
        #[schema(minimum = 0, maximum = 1)]
        temperature: Option<f64>,
        /// Sample only from the most likely tokens, up to this total probability.
        #[schema(minimum = 0, maximum = 1)]
        top_p: Option<f64>,
        /// Sample only from this many of the most likely tokens.
        #[schema(minimum = 1, maximum = 2147483647)]
        top_k: Option<i64>,
        /// Up to 16 strings at which the answer ends; each has 1 to 512 bytes.
        #[schema(max_items = 16)]
        stop_sequences: Option<Vec<String>>,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Value>)]
        metadata: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        service_tier: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Value>)]
        diagnostics: Ignored,
        /// Refused in a way that makes Anthropic's SDK continue without threads: conversations are not stored.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Value>)]
        thread: Ignored,
    }
}

/// Create a message (Anthropic)
#[utoipa::path(post, path = "/v1/messages", tag = "Anthropic", params(BetaParam),
    request_body(content = MessagesBody, example = json!({"max_tokens": 100, "messages": [{"role": "user", "content": "What is the capital of France?"}]})),
    responses((status = 200, content((AnthropicMessage = "application/json"), (MessageEvent = "text/event-stream")))))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    betas: Betas,
    Json(mut body, room): Json<MessagesBody>,
) -> Result<Response> {
    body.check_thread()?;
    let (mut fields, mut ignored) = (Fields::default(), betas.ignored());
    let (sampling, prompt) = (body.sampling(&mut fields), body.prompt());
    body.note_all_ignored(&mut ignored);
    prompt.note_ignored(&mut ignored);
    let encoder = MessageEncoder::new(&caller, prompt.thinking.as_ref());
    let (request, places) = prompt.into_request(sampling, fields, &state).await?;
    let room = room.keep(request.size());
    let (app, asking) = (Arc::clone(&state.app), caller.owned());
    let reply = async move {
        let reply = app.chat(&asking, request).await;
        drop(room);
        reply.map_err(|error| places.translate(error))
    };
    let stream = body.stream.unwrap_or(false);
    Ok(ignored.mark(respond(&state, &caller, reply, encoder, stream).await?))
}

impl MessagesBody {
    fn check_thread(&self) -> error::Result<()> {
        if !self.thread.is_sent() {
            return Ok(());
        }
        let detail = "is not supported: send the whole conversation in messages";
        Err(Error::field("/thread", detail).with_code(THREAD_UNSUPPORTED))
    }

    fn sampling(&mut self, fields: &mut Fields) -> Sampling {
        let stop = self.stop_sequences.take().map(Texts::Many);
        Sampling {
            max_tokens: fields.positive("/max_tokens", Some(self.max_tokens)),
            temperature: fields.between("/temperature", self.temperature, 0.0, 1.0),
            top_p: fields.between("/top_p", self.top_p, 0.0, 1.0),
            top_k: fields.positive("/top_k", self.top_k),
            stop: fields.texts("/stop_sequences", stop, STOP_LIMITS),
            ..Sampling::default()
        }
    }

    fn note_all_ignored(&self, names: &mut IgnoredNames) {
        names.note("metadata", self.metadata);
        names.note("service_tier", self.service_tier);
        names.note("diagnostics", self.diagnostics);
        self.note_ignored(names);
    }
}

//! `/api/chat`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    common::{ask, body},
    message::{OllamaMessage, OllamaTool},
    names::resolve,
    reply::{ChatEncoder, OllamaChatEvent, OllamaChatReply, ReplyHead},
};
use crate::{
    app::App,
    error,
    http::{
        HttpState,
        extract::{Json, fields::Fields, object::Object},
        ignored::IgnoredNames,
        middleware::{auth::Caller, errors::Result},
        reply::respond,
    },
    types::{Capability, ChatRequest, Prompt, Tool},
};

body! {
    struct OllamaChatBody {
        /// The conversation so far, oldest message first. Without messages the model is loaded, or unloaded with
        /// `keep_alive: 0`.
        #[schema(value_type = Option<Vec<OllamaMessage>>)]
        messages: Option<Vec<Object<OllamaMessage>>>,
        /// Up to 128 functions that the model can call.
        #[schema(value_type = Option<Vec<OllamaTool>>, max_items = 128)]
        tools: Option<Vec<Object<OllamaTool>>>,
    }
}

/// Create a chat completion (Ollama)
#[utoipa::path(post, path = "/api/chat", tag = "Ollama",
    request_body(content = OllamaChatBody, example = json!({"messages": [{"role": "user", "content": "What is the capital of France?"}]})),
    responses((status = 200, content((OllamaChatEvent = "application/x-ndjson"), (OllamaChatReply = "application/json")))))]
pub(in crate::http) async fn chat(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<OllamaChatBody>,
) -> Result<Response> {
    let asked = body.named().map(str::to_owned);
    let stream = body.stream.unwrap_or(true) && !body.messages().is_empty();
    let model = resolve(&state.app, asked.as_deref(), body.needed(), "chat").await?;
    let (request, ignored) = body.into_request(model, &state.app).await?;
    let encoder = ChatEncoder::new(ReplyHead::new(asked.clone(), &request));
    let reply = ask(&state, &caller, request, asked.as_deref(), room);
    Ok(ignored.mark(respond(&state, &caller, reply, encoder, stream).await?))
}

impl OllamaChatBody {
    fn messages(&self) -> &[Object<OllamaMessage>] {
        self.messages.as_deref().unwrap_or_default()
    }

    fn tools(&self) -> &[Object<OllamaTool>] {
        self.tools.as_deref().unwrap_or_default()
    }

    /// Capabilities that the model must have.
    fn needed(&self) -> &'static [Capability] {
        let has_images = self.messages().iter().any(|Object(message)| message.images() > 0);
        match (has_images, self.tools().is_empty()) {
            (false, true) => &[Capability::Completion],
            (false, false) => &[Capability::Tools],
            (true, true) => &[Capability::Vision],
            (true, false) => &[Capability::Vision, Capability::Tools],
        }
    }

    async fn into_request(mut self, model: String, app: &App) -> error::Result<(ChatRequest, IgnoredNames)> {
        let mut fields = Fields::default();
        let common = self.given().check(&mut fields);
        OllamaMessage::check_all(self.messages(), &mut fields);
        OllamaTool::check_all(self.tools(), &mut fields);
        fields.finish()?;
        let messages = OllamaMessage::into_messages(self.messages.unwrap_or_default(), app).await?;
        let tools = self.tools.into_iter().flatten().map(|Object(tool)| Tool::from(tool)).collect();
        let (request, ignored) = common.into_request(model, Prompt::Messages(messages), app).await;
        Ok((ChatRequest { tools, ..request }, ignored))
    }
}

//! `/api/generate`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    common::{ask, body},
    names::resolve,
    reply::{GenerateEncoder, OllamaGenerateEvent, OllamaGenerateReply, ReplyHead},
};
use crate::{
    app::App,
    error,
    http::{
        HttpState,
        extract::{
            Json,
            fields::Fields,
            images::{check_images, numbered, open},
        },
        ignored::IgnoredNames,
        middleware::{auth::Caller, errors::Result},
        reply::respond,
    },
    images::EncodedImage,
    types::{Capability, ChatRequest, Completion, Prompt},
};

body! {
    struct OllamaGenerateBody {
        /// Without a prompt the model is loaded, or unloaded with `keep_alive: 0`.
        prompt: Option<String>,
        /// Text that follows the answer, for models that were trained for fill-in-the-middle.
        suffix: Option<String>,
        /// System prompt.
        system: Option<String>,
        /// Template for the prompt in the language of Go's templates, in place of the model's. With the embedded engine it
        /// may use `.System`, `.Prompt`, `.Suffix`, `.Response`, and `if` with `else`.
        template: Option<String>,
        /// Token ids from an earlier response that this prompt continues.
        context: Option<Vec<u32>>,
        /// Send the prompt unchanged, without the model's chat template.
        raw: Option<bool>,
        /// Base64.
        #[schema(value_type = Option<Vec<String>>, max_items = 64)]
        images: Option<Vec<EncodedImage>>,
    }
}

/// Generate a completion (Ollama)
#[utoipa::path(post, path = "/api/generate", tag = "Ollama",
    request_body(content = OllamaGenerateBody, example = json!({"prompt": "What is the capital of France?"})),
    responses((status = 200, content((OllamaGenerateEvent = "application/x-ndjson"), (OllamaGenerateReply = "application/json")))))]
pub(in crate::http) async fn generate(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<OllamaGenerateBody>,
) -> Result<Response> {
    let (asked, is_raw) = (body.named().map(str::to_owned), body.raw == Some(true));
    let stream = body.stream.unwrap_or(true) && !body.is_load();
    let model = resolve(&state.app, asked.as_deref(), body.needed(), "generate").await?;
    let (request, ignored) = body.into_request(model, &state.app).await?;
    let encoder = GenerateEncoder::new(ReplyHead::new(asked.clone(), &request), is_raw);
    let reply = ask(&state, &caller, request, asked.as_deref(), room);
    Ok(ignored.mark(respond(&state, &caller, reply, encoder, stream).await?))
}

impl OllamaGenerateBody {
    fn is_load(&self) -> bool {
        self.prompt.as_deref().unwrap_or_default().is_empty()
    }

    fn images(&self) -> usize {
        self.images.as_ref().map_or(0, Vec::len)
    }

    /// Capabilities that the model must have. Any model can be loaded.
    fn needed(&self) -> &'static [Capability] {
        match (self.is_load(), self.images()) {
            (true, _) if self.named().is_some() => &[Capability::Embedding],
            (_, 0) => &[Capability::Completion],
            _ => &[Capability::Vision],
        }
    }

    async fn into_request(mut self, model: String, app: &App) -> error::Result<(ChatRequest, IgnoredNames)> {
        let mut fields = Fields::default();
        let common = self.given().check(&mut fields);
        self.check(&mut fields);
        fields.finish()?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let completion = Completion {
            text: self.prompt.unwrap_or_default(),
            suffix: filled(self.suffix),
            system: filled(self.system),
            template: filled(self.template),
            images: open(numbered("/images", self.images), app).await?,
            context: self.context.filter(|tokens| !tokens.is_empty()),
            raw: self.raw.unwrap_or(false),
        };
        Ok(common.into_request(model, Prompt::Completion(completion), app).await)
    }

    fn check(&self, fields: &mut Fields) {
        let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let has_context = self.context.as_ref().is_some_and(|tokens| !tokens.is_empty());
        if self.raw == Some(true) && (has(&self.template) || has(&self.system) || has_context) {
            fields.refuse("/raw", "cannot be combined with template, system or context");
        }
        if self.is_load() && (has(&self.suffix) || has_context || self.images() > 0) {
            fields.refuse("/prompt", "must not be empty: without a prompt the model is only loaded");
        }
        check_images(self.images(), "/images", fields);
    }
}

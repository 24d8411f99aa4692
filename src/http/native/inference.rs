//! `/inference/generate` and `/inference/chat`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    message::{MessageBody, ToolBody},
    reply::{
        ChatEncoder, ChatReply as ChatReplyBody, ChatReplyEvent, GenerateEncoder, GenerateEvent,
        GenerateReply,
    },
    schemas,
};
use crate::{
    app::{App, ChatReply, rag::SearchDocuments},
    error,
    http::{
        HttpState,
        extract::{
            Json, Room,
            fields::{Fields, TextLimits},
            images::{check_images, numbered, open},
            object::Object,
            texts::Texts,
        },
        middleware::{auth::Caller, errors::Result},
        rag::answer::{DocumentsBody, Sources},
        reply::respond,
    },
    images::EncodedImage,
    types::{
        Capability, ChatRequest, Completion, Format, JsonText, KeepAlive, LoadOptions, Prompt, Sampling,
        Think, Tool,
    },
};

/// Declares a body with the fields that both endpoints share. A macro and not `#[serde(flatten)]`,
/// which buffers the whole body and cannot say which field was wrong.
macro_rules! body {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            $($own)*
            /// Defaults to the server's default model.
            model: Option<String>,
            /// Stream the response as server-sent events.
            #[schema(default = false)]
            stream: Option<bool>,
            /// Sampling temperature, from 0 (always the most likely token) to 2. Defaults to the model's own, or else 0.7.
            #[schema(default = 0.7, minimum = 0, maximum = 2)]
            temperature: Option<f64>,
            /// Maximum number of tokens to generate.
            #[schema(minimum = 1, maximum = 2147483647)]
            max_tokens: Option<i64>,
            /// Sample only from the most likely tokens, up to this total probability.
            #[schema(minimum = 0, maximum = 1)]
            top_p: Option<f64>,
            /// Sample only from this many of the most likely tokens.
            #[schema(minimum = 1, maximum = 2147483647)]
            top_k: Option<i64>,
            /// Random seed. Requests with the same seed get the same answer where the backend supports it.
            seed: Option<i64>,
            /// String, or list of up to 16 strings, at which the answer ends; each has 1 to 512 bytes.
            #[schema(schema_with = schemas::stop)]
            stop: Option<Texts>,
            /// `"json"` or a JSON Schema.
            #[schema(schema_with = schemas::format)]
            format: Option<JsonText>,
            /// Whether and how long a thinking model reasons before it answers: `true`, `false`, `"low"`,
            /// `"medium"` or `"high"`. Defaults to the model's own setting.
            #[serde(default, deserialize_with = "think")]
            #[schema(schema_with = schemas::think)]
            think: Option<Think>,
            /// Time to keep the model loaded: seconds, a duration (`5m`), or -1 to keep it forever. Ignored
            /// if the answer comes from the cache.
            #[serde(default, deserialize_with = "keep_alive")]
            #[schema(schema_with = schemas::keep_alive)]
            keep_alive: Option<KeepAlive>,
        }

        impl $name {
            fn sampling(&mut self, fields: &mut Fields) -> Sampling {
                Sampling {
                    temperature: fields
                        .between("/temperature", self.temperature, 0.0, 2.0),
                    top_p: fields.between("/top_p", self.top_p, 0.0, 1.0),
                    top_k: fields.positive("/top_k", self.top_k),
                    seed: self.seed,
                    stop: fields.texts("/stop", self.stop.take(), STOP_LIMITS),
                    max_tokens: fields.positive("/max_tokens", self.max_tokens),
                    ..Sampling::default()
                }
            }
        }
    };
}

/// Each costs time at every token. OpenAI takes 4.
pub(in crate::http) const STOP_LIMITS: TextLimits = TextLimits { count: 16, bytes: 512 };

body! {
    struct GenerateBody {
        /// An empty prompt loads the model, or unloads it with `keep_alive: 0`.
        #[schema(example = "What is the capital of France?")]
        prompt: String,
        /// System prompt.
        system: Option<String>,
        /// Token ids from an earlier response that this prompt continues.
        context: Option<Vec<u32>>,
        /// Send the prompt unchanged, without the model's chat template.
        raw: Option<bool>,
        /// Base64, with or without a `data:` URI prefix.
        #[schema(value_type = Option<Vec<String>>, max_items = 64)]
        images: Option<Vec<EncodedImage>>,
    }
}

body! {
    struct ChatBody {
        /// The conversation so far, oldest message first.
        #[schema(min_items = 1)]
        #[schema(value_type = Vec<MessageBody>)]
        messages: Vec<Object<MessageBody>>,
        /// Up to 128 tools.
        #[schema(value_type = Option<Vec<ToolBody>>, max_items = 128)]
        tools: Option<Vec<Object<ToolBody>>>,
        /// Answer the last message, which must be the user's, from documents. Cannot be combined with `tools` or `format`.
        #[schema(value_type = Option<DocumentsBody>)]
        documents: Option<Object<DocumentsBody>>,
    }
}

/// Generate a completion
#[utoipa::path(post, path = "/inference/generate", tag = "Inference",
    request_body(content = GenerateBody, example = json!({"prompt": "What is the capital of France?"})),
    responses((status = 200, content((GenerateReply = "application/json"), (GenerateEvent = "text/event-stream")))))]
pub(in crate::http) async fn generate(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<GenerateBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let model = resolve(&state, body.model.as_deref(), body.images(), 0).await?;
    let request = body.into_request(model, &state.app).await?;
    let reply = ask(&state, &caller, request, None, room);
    respond(&state, &caller, reply, GenerateEncoder::default(), stream).await
}

/// Create a chat completion
#[utoipa::path(post, path = "/inference/chat", tag = "Inference",
    request_body(content = ChatBody, example = json!({"messages": [{"role": "user", "content": "What is the capital of France?"}]})),
    responses((status = 200, content((ChatReplyBody = "application/json"), (ChatReplyEvent = "text/event-stream")))))]
pub(in crate::http) async fn chat(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<ChatBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let model = resolve(&state, body.model.as_deref(), body.images(), body.tools()).await?;
    let (request, search) = body.into_request(model, &state.app).await?;
    let sources = search.is_some().then(Sources::default);
    let reply = ask(&state, &caller, request, sources.clone().zip(search), room);
    respond(&state, &caller, reply, ChatEncoder::new(sources), stream).await
}

/// Asks for the reply, and gives back the room of the request's body when it is passed on.
fn ask(
    state: &HttpState,
    caller: &Caller,
    request: ChatRequest,
    documents: Option<(Sources, SearchDocuments)>,
    room: Room,
) -> impl Future<Output = error::Result<ChatReply>> + Send + 'static {
    let (app, caller, room) = (Arc::clone(&state.app), caller.owned(), room.keep(request.size()));
    async move {
        let reply = match (documents, &request.prompt) {
            (Some((sources, search)), _) => sources.answer(&app, &caller, request, search).await,
            (None, prompt) if prompt.is_empty() => {
                let options = LoadOptions { keep_alive: request.keep_alive, context: None };
                app.load(&caller, request.model, options).await
            }
            _ => app.chat(&caller, request).await,
        };
        drop(room);
        reply
    }
}

impl GenerateBody {
    fn images(&self) -> usize {
        self.images.as_ref().map_or(0, Vec::len)
    }

    async fn into_request(mut self, model: String, app: &App) -> error::Result<ChatRequest> {
        let mut fields = Fields::default();
        let sampling = self.sampling(&mut fields);
        let format = format(self.format.take(), &mut fields);
        if self.prompt.is_empty() && (self.images() > 0 || self.context.is_some()) {
            fields.refuse("/prompt", "must not be empty: an empty prompt only loads the model");
        }
        if self.raw == Some(true) && self.system.is_some() {
            fields.refuse("/system", "cannot be combined with raw; include it in the prompt");
        }
        check_images(self.images(), "/images", &mut fields);
        fields.finish()?;
        let completion = Completion {
            text: self.prompt,
            suffix: None,
            system: self.system,
            template: None,
            images: open(numbered("/images", self.images), app).await?,
            context: self.context,
            raw: self.raw.unwrap_or(false),
        };
        Ok(ChatRequest {
            format,
            sampling,
            think: self.think,
            keep_alive: self.keep_alive,
            ..ChatRequest::new(model, Prompt::Completion(completion))
        })
    }
}

impl ChatBody {
    fn images(&self) -> usize {
        self.messages.iter().map(|Object(message)| message.images()).sum()
    }

    fn tools(&self) -> usize {
        self.tools.as_ref().map_or(0, Vec::len)
    }

    /// The chat, and the search for documents to answer it from.
    async fn into_request(
        mut self,
        model: String,
        app: &App,
    ) -> error::Result<(ChatRequest, Option<SearchDocuments>)> {
        let mut fields = Fields::default();
        let sampling = self.sampling(&mut fields);
        let format = format(self.format.take(), &mut fields);
        let documents = self.documents.take();
        let search = documents.map(|Object(documents)| documents.into_search(app, "/documents", &mut fields));
        self.check(&mut fields);
        if search.is_some() && self.tools() > 0 {
            fields.refuse("/tools", "cannot be combined with documents");
        }
        if search.is_some() && !matches!(format, Format::Text) {
            fields.refuse("/format", "cannot be combined with documents");
        }
        fields.finish()?;
        let mut messages = Vec::with_capacity(self.messages.len());
        for (index, Object(message)) in self.messages.into_iter().enumerate() {
            messages.push(message.into_message(index, app).await?);
        }
        let request = ChatRequest {
            tools: self.tools.into_iter().flatten().map(|Object(tool)| Tool::from(tool)).collect(),
            format,
            sampling,
            think: self.think,
            keep_alive: self.keep_alive,
            ..ChatRequest::new(model, Prompt::Messages(messages))
        };
        Ok((request, search))
    }

    fn check(&self, fields: &mut Fields) {
        if self.messages.is_empty() {
            fields.refuse("/messages", "must have at least one message");
        }
        for (index, Object(message)) in self.messages.iter().enumerate() {
            if fields.is_full() {
                break;
            }
            message.check(index, fields);
        }
        check_images(self.images(), "/messages", fields);
        ToolBody::check_all(self.tools.as_deref().unwrap_or_default(), fields);
    }
}

/// The model to ask, which can do all that is asked of it.
pub(in crate::http) async fn resolve(
    state: &HttpState,
    named: Option<&str>,
    images: usize,
    tools: usize,
) -> error::Result<String> {
    let app = &state.app;
    let needed = match (images, tools) {
        (0, 0) => Capability::Completion,
        (0, _) => Capability::Tools,
        _ => Capability::Vision,
    };
    let model = app.resolve(named, needed).await?;
    if images > 0 && tools > 0 { app.resolve(Some(&model), Capability::Tools).await } else { Ok(model) }
}

pub(in crate::http) fn format(given: Option<JsonText>, fields: &mut Fields) -> Format {
    match given {
        None => Format::Text,
        Some(given) if given.get() == r#""""# => Format::Text,
        Some(given) if given.get() == r#""json""# => Format::Json,
        Some(schema) if schema.is_object() => Format::Schema(schema),
        Some(_) => {
            fields.refuse("/format", "must be json or a JSON Schema object");
            Format::Text
        }
    }
}

/// Time to keep a model loaded: a number or a text.
pub(in crate::http) fn keep_alive<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<KeepAlive>, D::Error> {
    let Some(given) = Option::<JsonText>::deserialize(deserializer)? else { return Ok(None) };
    let text = given.to_text().unwrap_or_else(|| given.to_string());
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn think<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Think>, D::Error> {
    let Some(given) = Option::<JsonText>::deserialize(deserializer)? else { return Ok(None) };
    let wrong = || serde::de::Error::custom("must be true, false, low, medium or high");
    read_think(&given).map(Some).ok_or_else(wrong)
}

/// How long to think; `None` for what does not say it.
pub(in crate::http) fn read_think(given: &JsonText) -> Option<Think> {
    Some(match given.get() {
        "false" => Think::Off,
        "true" => Think::On,
        r#""low""# => Think::Low,
        r#""medium""# => Think::Medium,
        r#""high""# => Think::High,
        _ => return None,
    })
}

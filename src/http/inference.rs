//! `/inference/generate` and `/inference/chat`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    Edge,
    body_memory::Room,
    caller::Caller,
    docs::{ArgumentsField, FormatField, KeepAliveField, OneOrMany, ThinkField},
    error::Result,
    extract::Json,
    fields::Fields,
    stream::{Shape, respond},
    texts::Texts,
};
use crate::{
    app::{ChatReply, pictures::Pictures},
    error,
    types::{
        Capability, ChatRequest, Completion, EncodedImage, Format, Image, JsonText, KeepAlive, Message,
        Prompt, Role, Sampling, Think, Tool, ToolCall,
    },
};

/// Declares a body with the fields that both endpoints share. A macro and not `#[serde(flatten)]`,
/// which buffers the whole body and cannot say which field was wrong.
macro_rules! body {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Deserialize, ToSchema)]
        pub(super) struct $name {
            $($own)*
            /// The server's default model when absent.
            model: Option<String>,
            /// `true` answers with server-sent events.
            #[schema(default = false)]
            stream: Option<bool>,
            /// 0 (always the likeliest token) to 2.
            #[schema(default = 0.7, minimum = 0, maximum = 2)]
            temperature: Option<f64>,
            #[schema(minimum = 1, maximum = 2147483647)]
            max_tokens: Option<i64>,
            #[schema(minimum = 0, maximum = 1)]
            top_p: Option<f64>,
            #[schema(minimum = 1, maximum = 2147483647)]
            top_k: Option<i64>,
            seed: Option<i64>,
            /// One text or a list of texts at which the answer ends.
            #[schema(value_type = Option<OneOrMany>)]
            stop: Option<Texts>,
            /// `"json"` or a JSON Schema.
            #[schema(value_type = Option<FormatField>)]
            format: Option<JsonText>,
            /// Whether a model that can think does so before it answers, and for how long: `true`, `false`,
            /// `"low"`, `"medium"` or `"high"`. Its own default when absent.
            #[serde(default, deserialize_with = "think")]
            #[schema(value_type = Option<ThinkField>)]
            think: Option<Think>,
            /// How long the model stays loaded: seconds or a duration (`5m`); -1 for ever. An answer out of
            /// the cache changes nothing.
            #[serde(default, deserialize_with = "keep_alive")]
            #[schema(value_type = Option<KeepAliveField>)]
            keep_alive: Option<KeepAlive>,
        }

        impl $name {
            fn sampling(&mut self, fields: &mut Fields) -> Sampling {
                Sampling {
                    temperature: fields
                        .between("/temperature", self.temperature, 0.0, 2.0)
                        .or(Some(DEFAULT_TEMPERATURE)),
                    top_p: fields.between("/top_p", self.top_p, 0.0, 1.0),
                    top_k: fields.positive("/top_k", self.top_k),
                    seed: self.seed,
                    stop: self.stop.take().map_or_else(Vec::new, Texts::into_vec),
                    max_tokens: fields.positive("/max_tokens", self.max_tokens),
                }
            }
        }
    };
}

/// The brief's.
const DEFAULT_TEMPERATURE: f32 = 0.7;

body! {
    struct GenerateBody {
        #[schema(min_length = 1, example = "What is the capital of France?")]
        prompt: String,
        system: Option<String>,
        /// Token ids of an earlier reply which this prompt continues.
        context: Option<Vec<u32>>,
        /// Send the prompt as it is, without the model's chat template.
        raw: Option<bool>,
        /// base64, with or without a `data:` URI.
        #[schema(value_type = Option<Vec<String>>)]
        images: Option<Vec<EncodedImage>>,
    }
}

body! {
    struct ChatBody {
        #[schema(min_items = 1)]
        messages: Vec<MessageBody>,
        tools: Option<Vec<ToolBody>>,
    }
}

#[derive(Deserialize, ToSchema)]
pub(super) struct MessageBody {
    role: RoleBody,
    content: Option<String>,
    /// base64, with or without a `data:` URI.
    #[schema(value_type = Option<Vec<String>>)]
    images: Option<Vec<EncodedImage>>,
    tool_calls: Option<Vec<ToolCallBody>>,
    tool_call_id: Option<String>,
    tool_name: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RoleBody {
    System,
    User,
    Assistant,
    Tool,
}

/// A function that the model may ask to have called.
#[derive(Deserialize, ToSchema)]
pub(super) struct ToolBody {
    function: FunctionBody,
}

#[derive(Deserialize, ToSchema)]
struct FunctionBody {
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: JsonText,
}

/// What the assistant asked for in an earlier turn.
#[derive(Deserialize, ToSchema)]
pub(super) struct ToolCallBody {
    id: Option<String>,
    function: CalledBody,
}

#[derive(Deserialize, ToSchema)]
struct CalledBody {
    name: String,
    /// An object, or one written as a string, as OpenAI does.
    #[serde(default)]
    #[schema(value_type = ArgumentsField)]
    arguments: JsonText,
}

/// Answers a prompt
#[utoipa::path(post, path = "/inference/generate", tag = "Inference", request_body = GenerateBody,
    responses((status = 200, content((super::docs::GenerateReply = "application/json"), (super::docs::GenerateEvent = "text/event-stream")))))]
pub(super) async fn generate(
    State(edge): State<Arc<Edge>>,
    caller: Caller,
    Json(body, room): Json<GenerateBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let needed = needed(count(&body.images));
    let model = edge.app.models.resolve(body.model.as_deref(), needed).await?;
    let request = body.into_request(model, &edge.app.pictures).await?;
    let reply = ask(&edge, &caller, request, room);
    respond(&edge, &caller, reply, Shape::Generate, stream).await
}

/// Answers a conversation
#[utoipa::path(post, path = "/inference/chat", tag = "Inference", request_body = ChatBody,
    responses((status = 200, content((super::docs::ChatReply = "application/json"), (super::docs::ChatEvent = "text/event-stream")))))]
pub(super) async fn chat(
    State(edge): State<Arc<Edge>>,
    caller: Caller,
    Json(body, room): Json<ChatBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let needed = needed(body.messages.iter().map(|message| count(&message.images)).sum());
    let model = edge.app.models.resolve(body.model.as_deref(), needed).await?;
    let request = body.into_request(model, &edge.app.pictures).await?;
    let reply = ask(&edge, &caller, request, room);
    respond(&edge, &caller, reply, Shape::Chat, stream).await
}

/// Asks for the reply, and gives back the room of the request's body when it is passed on.
fn ask(
    edge: &Edge,
    caller: &Caller,
    request: ChatRequest,
    room: Room,
) -> impl Future<Output = error::Result<ChatReply>> + Send + 'static {
    let (app, caller, room) = (Arc::clone(&edge.app), caller.owned(), room.keep(request.size()));
    async move {
        let reply = app.chat(&caller, request).await;
        drop(room);
        reply
    }
}

impl GenerateBody {
    async fn into_request(mut self, model: String, pictures: &Pictures) -> error::Result<ChatRequest> {
        let mut fields = Fields::default();
        let sampling = self.sampling(&mut fields);
        let format = format(self.format, &mut fields);
        if self.prompt.is_empty() {
            fields.refuse("/prompt", "must not be empty");
        }
        if self.raw == Some(true) && self.system.is_some() {
            fields.refuse("/system", "has no place in a raw prompt; write it into the prompt");
        }
        check_images(count(&self.images), "/images", &mut fields);
        fields.finish()?;
        Ok(ChatRequest {
            model,
            prompt: Prompt::Completion(Completion {
                text: self.prompt,
                system: self.system,
                images: open(self.images, "/images", pictures).await?,
                context: self.context,
                raw: self.raw.unwrap_or(false),
            }),
            tools: Vec::new(),
            format,
            sampling,
            think: self.think,
            keep_alive: self.keep_alive,
        })
    }
}

impl ChatBody {
    async fn into_request(mut self, model: String, pictures: &Pictures) -> error::Result<ChatRequest> {
        let mut fields = Fields::default();
        let sampling = self.sampling(&mut fields);
        let format = format(self.format, &mut fields);
        if self.messages.is_empty() {
            fields.refuse("/messages", "must have at least one message");
        }
        for (index, message) in self.messages.iter().enumerate() {
            if fields.is_full() {
                break;
            }
            message.check(index, &mut fields);
        }
        let images = self.messages.iter().map(|message| count(&message.images)).sum();
        check_images(images, "/messages", &mut fields);
        fields.finish()?;
        let mut messages = Vec::with_capacity(self.messages.len());
        for (index, mut message) in self.messages.into_iter().enumerate() {
            let images = open(message.images.take(), &format!("/messages/{index}/images"), pictures).await?;
            messages.push(message.into_message(images));
        }
        Ok(ChatRequest {
            model,
            prompt: Prompt::Messages(messages),
            tools: self.tools.into_iter().flatten().map(Tool::from).collect(),
            format,
            sampling,
            think: self.think,
            keep_alive: self.keep_alive,
        })
    }
}

impl MessageBody {
    fn check(&self, index: usize, fields: &mut Fields) {
        let calls_tools = self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        if self.content.is_none() && !(calls_tools && matches!(self.role, RoleBody::Assistant)) {
            fields.refuse(format!("/messages/{index}/content"), "must be a string");
        }
        if calls_tools && !matches!(self.role, RoleBody::Assistant) {
            fields.refuse(format!("/messages/{index}/tool_calls"), "are only the assistant's");
        }
        for (call, ToolCallBody { id: _, function }) in self.tool_calls.iter().flatten().enumerate() {
            if ToolCall::arguments(&function.arguments).is_none() {
                let pointer = format!("/messages/{index}/tool_calls/{call}/function/arguments");
                fields.refuse(pointer, "must be an object, or one written as a string");
            }
        }
    }

    fn into_message(self, images: Vec<Image>) -> Message {
        Message {
            role: match self.role {
                RoleBody::System => Role::System,
                RoleBody::User => Role::User,
                RoleBody::Assistant => Role::Assistant,
                RoleBody::Tool => Role::Tool,
            },
            content: self.content.unwrap_or_default(),
            images,
            tool_calls: self.tool_calls.into_iter().flatten().map(ToolCall::from).collect(),
            tool_call_id: self.tool_call_id,
            tool_name: self.tool_name,
        }
    }
}

impl From<ToolBody> for Tool {
    fn from(ToolBody { function }: ToolBody) -> Self {
        Self { name: function.name, description: function.description, parameters: function.parameters }
    }
}

impl From<ToolCallBody> for ToolCall {
    fn from(ToolCallBody { id, function }: ToolCallBody) -> Self {
        // OpenAI's clients send the arguments as JSON in a string.
        let arguments = ToolCall::arguments(&function.arguments).unwrap_or(function.arguments);
        Self { id, name: function.name, arguments }
    }
}

fn count(images: &Option<Vec<EncodedImage>>) -> usize {
    images.as_ref().map_or(0, Vec::len)
}

fn needed(images: usize) -> Capability {
    if images > 0 { Capability::Vision } else { Capability::Completion }
}

/// More than any model's context holds; each is decoded, however small it is.
const MAX_IMAGES: usize = 64;

fn check_images(images: usize, pointer: &str, fields: &mut Fields) {
    if images > MAX_IMAGES {
        fields.refuse(pointer, format!("may have at most {MAX_IMAGES} images"));
    }
}

/// One after the other, so that one request takes no more than its share of the decoders.
async fn open(
    images: Option<Vec<EncodedImage>>,
    pointer: &str,
    pictures: &Pictures,
) -> error::Result<Vec<Image>> {
    let mut opened = Vec::new();
    for (index, image) in images.into_iter().flatten().enumerate() {
        opened.push(pictures.open(image, &format!("{pointer}/{index}")).await?);
    }
    Ok(opened)
}

fn format(given: Option<JsonText>, fields: &mut Fields) -> Format {
    match given {
        None => Format::Text,
        Some(given) if given.get() == r#""""# => Format::Text,
        Some(given) if given.get() == r#""json""# => Format::Json,
        Some(schema) if schema.is_object() => Format::Schema(schema),
        Some(_) => {
            fields.refuse("/format", "must be \"json\" or a JSON Schema object");
            Format::Text
        }
    }
}

fn keep_alive<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<KeepAlive>, D::Error> {
    let Some(given) = Option::<JsonText>::deserialize(deserializer)? else { return Ok(None) };
    let text = given.to_text().unwrap_or_else(|| given.to_string());
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn think<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Think>, D::Error> {
    let Some(given) = Option::<JsonText>::deserialize(deserializer)? else { return Ok(None) };
    match given.get() {
        "false" => Ok(Some(Think::Off)),
        "true" => Ok(Some(Think::On)),
        r#""low""# => Ok(Some(Think::Low)),
        r#""medium""# => Ok(Some(Think::Medium)),
        r#""high""# => Ok(Some(Think::High)),
        _ => Err(serde::de::Error::custom("must be true, false, \"low\", \"medium\" or \"high\"")),
    }
}

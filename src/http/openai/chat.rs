//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    choices,
    message::ChatMessage,
    reply::{ChatCompletion, ChatCompletionChunk, ChatCompletionEncoder, ReplyHead},
    sampling::{body, choices as number_of_choices},
    tools::{FunctionTool, ToolChoiceBody},
};
use crate::{
    app::App,
    error,
    http::{
        HttpState,
        extract::{
            Json,
            fields::Fields,
            images::check_images,
            object::{Object, Word},
        },
        ignored::{Ignored, IgnoredNames},
        middleware::{auth::Caller, errors::Result},
        native::inference::resolve,
        reply::respond,
    },
    types::{ChatRequest, Format, JsonText, Prompt, Sampling, Think, Tool, ToolChoice},
};

/// Maximum of `top_logprobs`, as in OpenAI's API.
pub(super) const MAX_TOP_LOGPROBS: i64 = 20;

body! {
    struct ChatCompletionBody {
        /// The conversation so far, oldest message first.
        #[schema(value_type = Vec<ChatMessage>, min_items = 1)]
        messages: Vec<Object<ChatMessage>>,
        /// Maximum number of tokens to generate, including those of reasoning.
        #[schema(minimum = 1, maximum = 2147483647)]
        max_completion_tokens: Option<i64>,
        /// Older name of `max_completion_tokens`.
        #[schema(minimum = 1, maximum = 2147483647)]
        max_tokens: Option<i64>,
        /// Return the log probability of each token.
        logprobs: Option<bool>,
        /// Number of most likely tokens to return at each position. Needs `logprobs`.
        #[schema(minimum = 0, maximum = 20)]
        top_logprobs: Option<i64>,
        #[schema(value_type = Option<ResponseFormat>)]
        response_format: Option<Object<ResponseFormat>>,
        /// Up to 128 functions that the model can call.
        #[schema(value_type = Option<Vec<FunctionTool>>, max_items = 128)]
        tools: Option<Vec<Object<FunctionTool>>>,
        tool_choice: Option<ToolChoiceBody>,
        /// Whether the model may call several tools in one answer.
        #[schema(default = true)]
        parallel_tool_calls: Option<bool>,
        /// How long a thinking model reasons before it answers. Defaults to the model's own setting.
        #[schema(value_type = Option<ReasoningEffort>)]
        reasoning_effort: Option<Word<ReasoningEffort>>,
        /// Only `["text"]`.
        #[serde(rename = "modalities")]
        #[schema(value_type = Option<Vec<Modality>>)]
        _modalities: Option<Vec<Word<Modality>>>,
        /// Has no effect: replies are not stored.
        #[serde(default)]
        #[schema(value_type = Option<bool>)]
        store: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
        metadata: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        service_tier: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        safety_identifier: Ignored,
        /// Has no effect: prompts are cached in any case.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        prompt_cache_key: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        prompt_cache_retention: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
        prompt_cache_options: Ignored,
        /// Has no effect.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        verbosity: Ignored,
        /// Has no effect: an answer is the same without it.
        #[serde(default)]
        #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
        prediction: Ignored,
    }
}

/// Shape of the answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseFormat {
    #[schema(value_type = ResponseFormatType)]
    r#type: Word<ResponseFormatType>,
    /// For `json_schema`.
    #[schema(value_type = Option<NamedJsonSchema>)]
    json_schema: Option<Object<NamedJsonSchema>>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseFormatType {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedJsonSchema {
    /// Has no effect.
    #[serde(default, rename = "name")]
    #[schema(value_type = Option<String>)]
    _name: Ignored,
    /// Has no effect.
    #[serde(default, rename = "description")]
    #[schema(value_type = Option<String>)]
    _description: Ignored,
    /// See docs/schemas.md for what is enforced.
    #[schema(value_type = Object)]
    schema: JsonText,
    /// Has no effect: answers always match their schema.
    #[serde(rename = "strict")]
    _strict: Option<bool>,
}

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReasoningEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Modality {
    Text,
}

/// Create a chat completion (OpenAI)
#[utoipa::path(post, path = "/v1/chat/completions", tag = "OpenAI",
    request_body(content = ChatCompletionBody, example = json!({"messages": [{"role": "user", "content": "What is the capital of France?"}]})),
    responses((status = 200, content((ChatCompletion = "application/json"), (ChatCompletionChunk = "text/event-stream")))))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<ChatCompletionBody>,
) -> Result<Response> {
    let (stream, include_usage, ignored) =
        (body.stream.unwrap_or(false), body.include_usage(), body.ignored());
    let model = resolve(&state, body.model.as_deref(), body.images(), body.tools()).await?;
    let (request, choices) = body.into_request(model, &state.app).await?;
    let encoder = ChatCompletionEncoder::new(ReplyHead {
        top_logprobs: request.logprobs.unwrap_or(0).into(),
        ..ReplyHead::new("chatcmpl", &caller, choices, include_usage)
    });
    let room = room.keep(request.size());
    let (app, asking) = (Arc::clone(&state.app), caller.owned());
    let reply = async move {
        let reply = choices::ask(&app, &asking, choices::repeated(&request, choices)).await;
        drop(room);
        reply.map_err(|error| error.at(openai_field))
    };
    Ok(ignored.mark(respond(&state, &caller, reply, encoder, stream).await?))
}

/// Maps the place of a field in our request to its place in OpenAI's.
fn openai_field(pointer: &str) -> String {
    match pointer {
        "/think" => "/reasoning_effort".to_owned(),
        _ => match pointer.strip_prefix("/format") {
            Some("") => "/response_format".to_owned(),
            Some(place) => format!("/response_format/json_schema/schema{place}"),
            None => pointer.replace("/images", "/content"),
        },
    }
}

impl ChatCompletionBody {
    fn images(&self) -> usize {
        self.messages.iter().map(|Object(message)| message.images()).sum()
    }

    fn tools(&self) -> usize {
        self.tools.as_ref().map_or(0, Vec::len)
    }

    fn ignored(&self) -> IgnoredNames {
        let mut names = IgnoredNames::default();
        for (name, ignored) in [
            ("user", self.user),
            ("store", self.store),
            ("metadata", self.metadata),
            ("service_tier", self.service_tier),
            ("safety_identifier", self.safety_identifier),
            ("prompt_cache_key", self.prompt_cache_key),
            ("prompt_cache_retention", self.prompt_cache_retention),
            ("prompt_cache_options", self.prompt_cache_options),
            ("verbosity", self.verbosity),
            ("prediction", self.prediction),
        ] {
            names.note(name, ignored);
        }
        self.messages.iter().for_each(|Object(message)| message.note_ignored(&mut names));
        names
    }

    async fn into_request(mut self, model: String, app: &App) -> error::Result<(ChatRequest, usize)> {
        let mut fields = Fields::default();
        let choices = number_of_choices(self.n, &mut fields);
        let max_tokens = fields
            .positive("/max_completion_tokens", self.max_completion_tokens)
            .or(fields.positive("/max_tokens", self.max_tokens));
        if self.max_completion_tokens.is_some() && self.max_tokens.is_some() {
            fields.refuse("/max_tokens", "cannot be combined with max_completion_tokens, its newer name");
        }
        let sampling = Sampling { max_tokens, ..self.sampling(&mut fields) };
        let logprobs = self.logprobs(&mut fields);
        let format = format(self.response_format.take(), &mut fields);
        ChatMessage::check_all(&self.messages, &mut fields);
        check_images(self.images(), "/messages", &mut fields);
        FunctionTool::check_all(self.tools.as_deref().unwrap_or_default(), &mut fields);
        fields.finish()?;
        let mut messages = Vec::with_capacity(self.messages.len());
        for (index, Object(message)) in self.messages.into_iter().enumerate() {
            messages.push(message.into_message(index, app).await?);
        }
        let request = ChatRequest {
            tools: self.tools.into_iter().flatten().map(|Object(tool)| Tool::from(tool)).collect(),
            tool_choice: self.tool_choice.map(ToolChoice::from).unwrap_or_default(),
            parallel_tool_calls: self.parallel_tool_calls.unwrap_or(true),
            format,
            sampling,
            logprobs,
            think: self.reasoning_effort.map(|Word(effort)| effort.into()),
            keep_alive: self.keep_alive,
            ..ChatRequest::new(model, Prompt::Messages(messages))
        };
        Ok((request, choices))
    }

    fn logprobs(&self, fields: &mut Fields) -> Option<u8> {
        let top = self.top_logprobs.unwrap_or(0);
        if !(0..=MAX_TOP_LOGPROBS).contains(&top) {
            fields.refuse("/top_logprobs", format!("must be between 0 and {MAX_TOP_LOGPROBS}"));
        }
        let is_asked = self.logprobs.unwrap_or(false);
        if self.top_logprobs.is_some() && !is_asked {
            fields.refuse("/top_logprobs", "needs logprobs to be true");
        }
        is_asked.then(|| u8::try_from(top).unwrap_or(0))
    }
}

fn format(given: Option<Object<ResponseFormat>>, fields: &mut Fields) -> Format {
    let Some(Object(ResponseFormat { r#type: Word(r#type), json_schema })) = given else {
        return Format::Text;
    };
    match (r#type, json_schema) {
        (ResponseFormatType::Text, _) => Format::Text,
        (ResponseFormatType::JsonObject, _) => Format::Json,
        (ResponseFormatType::JsonSchema, Some(Object(named))) if named.schema.is_object() => {
            Format::Schema(named.schema)
        }
        (ResponseFormatType::JsonSchema, Some(_)) => {
            fields.refuse("/response_format/json_schema/schema", "must be a JSON Schema object");
            Format::Text
        }
        (ResponseFormatType::JsonSchema, None) => {
            fields.refuse("/response_format/json_schema", "is required for the type json_schema");
            Format::Text
        }
    }
}

impl From<ReasoningEffort> for Think {
    fn from(effort: ReasoningEffort) -> Self {
        match effort {
            ReasoningEffort::None => Self::Off,
            ReasoningEffort::Minimal | ReasoningEffort::Low => Self::Low,
            ReasoningEffort::Medium => Self::Medium,
            ReasoningEffort::High | ReasoningEffort::Xhigh | ReasoningEffort::Max => Self::High,
        }
    }
}

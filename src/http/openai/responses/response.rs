//! The response as JSON.

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::{
    item::{ItemBody, ItemStatus},
    output::Output,
    text::TextFormat,
    tools::ResponseTool,
};
use crate::{
    error::{Error, Kind},
    http::openai::chat::ReasoningEffort,
    store::responses::ResponseId,
    types::{Done, FinishReason, JsonText, Usage},
};

/// A response.
#[derive(Serialize, ToSchema)]
#[schema(as = Response)]
pub(in crate::http) struct ResponseObject<'a> {
    id: String,
    object: ResponseObjectType,
    /// Unix time in seconds.
    created_at: i64,
    #[schema(required)]
    completed_at: Option<i64>,
    status: ResponseStatus,
    background: bool,
    #[schema(required)]
    error: Option<ResponseError>,
    #[schema(required)]
    incomplete_details: Option<IncompleteDetails>,
    #[schema(required)]
    instructions: Option<&'a str>,
    #[schema(required)]
    max_output_tokens: Option<u32>,
    metadata: &'a BTreeMap<String, String>,
    model: &'a str,
    output: Vec<ItemBody<'a>>,
    parallel_tool_calls: bool,
    #[schema(required)]
    previous_response_id: Option<String>,
    reasoning: ReasoningObject,
    /// Whether it can be retrieved later.
    store: bool,
    /// Null if it was not given.
    #[schema(required)]
    temperature: Option<f64>,
    text: TextObject<'a>,
    #[schema(value_type = serde_json::Value)]
    tool_choice: &'a JsonText,
    tools: &'a [ResponseTool],
    top_logprobs: u8,
    /// Null if it was not given.
    #[schema(required)]
    top_p: Option<f64>,
    truncation: Truncation,
    #[schema(required)]
    usage: Option<ResponseUsage>,
}

/// Always `response`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ResponseObjectType {
    Response,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseStatus {
    Queued,
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ResponseError {
    code: ResponseErrorCode,
    message: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResponseErrorCode {
    ServerError,
    RateLimitExceeded,
    InvalidPrompt,
}

#[derive(Serialize, ToSchema)]
struct IncompleteDetails {
    reason: IncompleteReason,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum IncompleteReason {
    /// `max_output_tokens` was reached, or the context was full.
    MaxOutputTokens,
    ContentFilter,
}

#[derive(Serialize, ToSchema)]
struct ReasoningObject {
    #[schema(required)]
    effort: Option<ReasoningEffort>,
    /// Always null: the reasoning itself is in the output.
    #[schema(required)]
    summary: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
struct TextObject<'a> {
    format: &'a TextFormat,
}

/// Always `disabled`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Truncation {
    Disabled,
}

#[derive(Serialize, ToSchema)]
struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: ResponseInputTokens,
    output_tokens: u64,
    output_tokens_details: ResponseOutputTokens,
    total_tokens: u64,
}

#[derive(Serialize, ToSchema)]
struct ResponseInputTokens {
    /// Tokens that came from the model's prompt cache; 0 if the backend does not report it.
    cached_tokens: u64,
}

#[derive(Serialize, ToSchema)]
struct ResponseOutputTokens {
    /// 0 if the backend does not report it.
    reasoning_tokens: u64,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } = usage;
        Self {
            input_tokens: prompt_tokens,
            input_tokens_details: ResponseInputTokens { cached_tokens: cached_tokens.unwrap_or_default() },
            output_tokens: completion_tokens,
            output_tokens_details: ResponseOutputTokens {
                reasoning_tokens: reasoning_tokens.unwrap_or_default(),
            },
            total_tokens: prompt_tokens + completion_tokens,
        }
    }
}

impl From<&Error> for ResponseError {
    fn from(error: &Error) -> Self {
        let code = match error.kind() {
            Kind::Busy => ResponseErrorCode::RateLimitExceeded,
            Kind::Invalid | Kind::Unsupported | Kind::TooLarge | Kind::NotFound => {
                ResponseErrorCode::InvalidPrompt
            }
            _ => ResponseErrorCode::ServerError,
        };
        Self { code, message: error.message().to_owned() }
    }
}

/// A response before it is complete: what it repeats of its request.
pub(super) struct Draft {
    pub(super) id: ResponseId,
    pub(super) created_at: i64,
    pub(super) background: bool,
    pub(super) model: String,
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) parallel_tool_calls: bool,
    pub(super) previous: Option<ResponseId>,
    pub(super) effort: Option<ReasoningEffort>,
    /// Whether it is to be stored.
    pub(super) store: bool,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) format: TextFormat,
    pub(super) tool_choice: JsonText,
    pub(super) tools: Vec<ResponseTool>,
    pub(super) top_logprobs: Option<u8>,
    /// Number of items in its input.
    pub(super) inputs: usize,
    /// Its JSON once it is complete.
    pub(super) finished: OnceLock<Finished>,
}

/// A complete response.
pub(super) struct Finished {
    pub(super) json: Box<RawValue>,
    pub(super) is_incomplete: bool,
    pub(super) is_stored: bool,
}

impl Draft {
    pub(super) fn output(&self) -> Output {
        Output::new(self.id.digits(), self.inputs, self.top_logprobs.map(usize::from))
    }

    fn object<'a>(&'a self, status: ResponseStatus, output: Vec<ItemBody<'a>>) -> ResponseObject<'a> {
        ResponseObject {
            id: self.id.to_string(),
            object: ResponseObjectType::Response,
            created_at: self.created_at,
            completed_at: None,
            status,
            background: self.background,
            error: None,
            incomplete_details: None,
            instructions: self.instructions.as_deref(),
            max_output_tokens: self.max_output_tokens,
            metadata: &self.metadata,
            model: &self.model,
            output,
            parallel_tool_calls: self.parallel_tool_calls,
            previous_response_id: self.previous.map(|id| id.to_string()),
            reasoning: ReasoningObject { effort: self.effort, summary: None },
            store: self.store,
            temperature: self.temperature,
            text: TextObject { format: &self.format },
            tool_choice: &self.tool_choice,
            tools: &self.tools,
            top_logprobs: self.top_logprobs.unwrap_or(0),
            top_p: self.top_p,
            truncation: Truncation::Disabled,
            usage: None,
        }
    }

    /// The response without any output yet.
    pub(super) fn begun(&self, status: ResponseStatus) -> Box<RawValue> {
        raw(&self.object(status, Vec::new()))
    }

    /// The response as it ends.
    pub(super) fn done(&self, output: &Output, done: &Done, store: bool) -> (Box<RawValue>, bool) {
        let reason = match done.reason {
            FinishReason::Length | FinishReason::Context => Some(IncompleteReason::MaxOutputTokens),
            FinishReason::ContentFilter => Some(IncompleteReason::ContentFilter),
            _ => None,
        };
        let status = if reason.is_some() { ResponseStatus::Incomplete } else { ResponseStatus::Completed };
        let object = ResponseObject {
            completed_at: reason.is_none().then(|| Timestamp::now().as_second()),
            incomplete_details: reason.map(|reason| IncompleteDetails { reason }),
            store,
            usage: Some(done.usage.into()),
            ..self.object(status, output.all(last_status(done)))
        };
        (raw(&object), reason.is_some())
    }

    /// The response after a failure, with the output so far. `store` is whether it can be retrieved.
    pub(super) fn failed(&self, output: &Output, error: &Error, store: bool) -> Box<RawValue> {
        let output = output.all(ItemStatus::Incomplete);
        let object = self.object(ResponseStatus::Failed, output);
        raw(&ResponseObject { error: Some(error.into()), store, ..object })
    }
}

/// Status of the last item of an answer with this end.
pub(super) fn last_status(done: &Done) -> ItemStatus {
    if done.reason.is_cut_off() { ItemStatus::Incomplete } else { ItemStatus::Completed }
}

pub(super) fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("texts, numbers and JSON")
}

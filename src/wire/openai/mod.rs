//! OpenAI-compatible JSON, as llama-server, vLLM and OpenAI itself use it
//! (<https://platform.openai.com/docs/api-reference/chat>). Fields that only llama.cpp has are optional and
//! marked.

mod embeddings;
mod logprobs;
mod message;
mod reply;
mod request;
mod sampling;

use std::time::Duration;

use serde::Deserialize;

pub use embeddings::{EmbedInput, EmbeddingsBody, parse_embeddings};
pub use logprobs::{TokenObject, push_logprobs};
pub use message::MessageBody;
pub use reply::ReplyParser;
pub use request::{ChatBody, Schema, ThinkingBody, ToolBody};
pub use sampling::{SamplingBody, sampled, told};

use crate::{
    error::{Error, Kind},
    types::{Timings, Usage},
    wire::{
        foreign::{json_fault, loggable},
        maybe_tokens, tokens,
    },
};

/// Body of an error response, `{"error": {…}}`.
#[derive(Deserialize)]
pub struct ErrorBody {
    pub error: ErrorObject,
}

#[derive(Debug, Default, Deserialize)]
pub struct ErrorObject {
    #[serde(default)]
    pub message: String,
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// llama.cpp, with `exceed_context_size_error`.
    pub n_prompt_tokens: Option<u64>,
    /// llama.cpp, with `exceed_context_size_error`.
    pub n_ctx: Option<u64>,
}

impl ErrorObject {
    /// Tokens of the prompt and tokens of the context, when the prompt was too long.
    pub fn exceeded_context(&self) -> Option<(u64, u64)> {
        (self.kind.as_deref() == Some("exceed_context_size_error"))
            .then_some(self.n_prompt_tokens.zip(self.n_ctx))
            .flatten()
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct UsageObject {
    #[serde(default, deserialize_with = "tokens")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "tokens")]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
    completion_tokens_details: Option<CompletionTokens>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PromptTokens {
    #[serde(default, deserialize_with = "maybe_tokens")]
    cached_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct CompletionTokens {
    #[serde(default, deserialize_with = "maybe_tokens")]
    reasoning_tokens: Option<u64>,
}

impl From<UsageObject> for Usage {
    fn from(usage: UsageObject) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
            reasoning_tokens: usage.completion_tokens_details.and_then(|details| details.reasoning_tokens),
        }
    }
}

/// llama.cpp's own measurements.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct TimingsObject {
    #[serde(default)]
    prompt_ms: f64,
    #[serde(default)]
    predicted_ms: f64,
    /// Prompt tokens taken from the prompt cache.
    #[serde(default, deserialize_with = "maybe_tokens")]
    pub(super) cache_n: Option<u64>,
}

impl From<TimingsObject> for Timings {
    fn from(timings: TimingsObject) -> Self {
        // A figure that is no duration (negative, NaN) is as good as none.
        let duration = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
        Self {
            prompt_eval: duration(timings.prompt_ms),
            eval: duration(timings.predicted_ms),
            ..Self::default()
        }
    }
}

/// The backend sent something that is not this protocol.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn malformed(source: serde_json::Error) -> Error {
    Error::new(Kind::BadGateway, "The backend sent an invalid response.").with_source(json_fault(&source))
}

/// The backend reported an error in the middle of its answer.
pub(super) fn failed(error: ErrorObject) -> Error {
    Error::new(Kind::BadGateway, "The backend failed in the middle of its response.")
        .with_source(loggable(&error.message))
}

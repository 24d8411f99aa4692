//! Tokens that a reply used.

use serde::Serialize;
use utoipa::ToSchema;

use crate::types::Usage;

#[derive(Default, Serialize, ToSchema)]
pub(super) struct AnthropicUsage {
    /// Tokens of the prompt that did not come from the model's prompt cache.
    input_tokens: u64,
    /// Always 0: adding to the prompt cache costs nothing.
    cache_creation_input_tokens: u64,
    /// Tokens of the prompt that came from the model's prompt cache.
    cache_read_input_tokens: u64,
    output_tokens: u64,
    /// Absent if the backend does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputTokens>,
}

#[derive(Serialize, ToSchema)]
struct OutputTokens {
    thinking_tokens: u64,
}

impl From<Usage> for AnthropicUsage {
    fn from(usage: Usage) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } = usage;
        let cached = cached_tokens.unwrap_or(0).min(prompt_tokens);
        Self {
            input_tokens: prompt_tokens - cached,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached,
            output_tokens: completion_tokens,
            output_tokens_details: reasoning_tokens.map(|thinking_tokens| OutputTokens { thinking_tokens }),
        }
    }
}

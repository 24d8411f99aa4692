//! Tokens that a reply used.

use serde::Serialize;
use utoipa::ToSchema;

use crate::types::Usage;

#[derive(Serialize, ToSchema)]
pub(super) struct OpenAiUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    /// Absent if the backend does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptTokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionTokens>,
}

#[derive(Serialize, ToSchema)]
struct PromptTokens {
    /// Tokens that came from the model's prompt cache.
    cached_tokens: u64,
}

#[derive(Serialize, ToSchema)]
struct CompletionTokens {
    reasoning_tokens: u64,
}

impl From<Usage> for OpenAiUsage {
    fn from(usage: Usage) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } = usage;
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: cached_tokens.map(|cached_tokens| PromptTokens { cached_tokens }),
            completion_tokens_details: reasoning_tokens
                .map(|reasoning_tokens| CompletionTokens { reasoning_tokens }),
        }
    }
}

/// Tokens of several answers to one prompt, which counts once.
#[derive(Default)]
pub(super) struct UsageSum(Option<Usage>);

impl UsageSum {
    /// Adds the tokens of an answer; the first one to a prompt counts the prompt's.
    pub(super) fn add(&mut self, usage: Usage, is_first: bool) {
        match &mut self.0 {
            Some(sum) if !is_first => *sum += Usage { prompt_tokens: 0, cached_tokens: None, ..usage },
            Some(sum) => *sum += usage,
            None => self.0 = Some(usage),
        }
    }

    pub(super) fn body(&self) -> OpenAiUsage {
        self.0.unwrap_or_default().into()
    }
}

//! Token counts and timings of a reply, as the backend reports them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Those of `prompt_tokens` that came from the engine's prompt cache, where the backend tells.
    pub cached_tokens: Option<u64>,
    /// Those of `completion_tokens` that are reasoning, where the backend tells.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Whether a reply has as many tokens as it may have; never when there is no limit.
    pub fn has_reached(&self, max_tokens: Option<u32>) -> bool {
        max_tokens.is_some_and(|max| self.completion_tokens >= max.into())
    }
}

/// How long each part took. On the wire these are integer nanoseconds (Ollama's convention).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    pub total: Duration,
    /// In the line for a slot; none when the backend does not tell.
    #[serde(default)]
    pub queue: Option<Duration>,
    pub load: Duration,
    pub prompt_eval: Duration,
    pub eval: Duration,
}

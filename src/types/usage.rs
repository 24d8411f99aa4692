//! Token counts and timings of a reply, as the backend reports them.

use std::{ops::AddAssign, time::Duration};

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

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
        };
        *self = Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
        };
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

//! What a reply cost, as the backend counted it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
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

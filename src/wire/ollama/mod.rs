//! Ollama's JSON (docs/api.md of ollama/ollama). Durations are integer nanoseconds.

mod answer;
mod line;
mod request;
mod vocabulary;

use std::time::Duration;

pub use self::{
    answer::{
        EmbedAnswer, ErrorBody, PullLine, Running, RunningModel, Show, ShowDetails, Tags, Version, malformed,
        parameters,
    },
    line::LineParser,
    request::{ChatBody, CommonBody, EmbedBody, GenerateBody, LoadBody, MessageBody},
    vocabulary::Vocabulary,
};

/// Integer nanoseconds; saturates after 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

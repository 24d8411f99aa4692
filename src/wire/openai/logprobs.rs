//! Probabilities of tokens, as `/v1/chat/completions` and llama.cpp's `/completion` write them.

use serde::Deserialize;

use crate::types::{ChatEvent, Logprob, TokenLogprob};

/// OpenAI's number for a token without a probability worth telling.
const VERY_UNLIKELY: f32 = -9999.0;

#[derive(Deserialize)]
pub struct TokenObject {
    #[serde(flatten)]
    token: LogprobObject,
    #[serde(default)]
    top_logprobs: Vec<LogprobObject>,
}

#[derive(Deserialize)]
struct LogprobObject {
    token: String,
    bytes: Option<Vec<u8>>,
    /// Null where it is minus infinity, which JSON cannot write.
    logprob: Option<f32>,
}

impl From<LogprobObject> for Logprob {
    fn from(LogprobObject { token, bytes, logprob }: LogprobObject) -> Self {
        let bytes = bytes.unwrap_or_else(|| token.as_bytes().to_vec());
        Self { text: token, bytes, logprob: logprob.unwrap_or(VERY_UNLIKELY) }
    }
}

/// Appends the probabilities to events that have arrived together.
pub fn push_logprobs(events: &mut Vec<ChatEvent>, tokens: Vec<TokenObject>) {
    let tokens = tokens.into_iter().map(|TokenObject { token, top_logprobs }| TokenLogprob {
        token: token.into(),
        top: top_logprobs.into_iter().map(Logprob::from).collect(),
    });
    let tokens: Vec<TokenLogprob> = tokens.collect();
    if !tokens.is_empty() {
        events.push(ChatEvent::Logprobs(tokens));
    }
}

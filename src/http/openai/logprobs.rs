//! Log probabilities of the tokens of a reply.

use serde::Serialize;
use utoipa::ToSchema;

use crate::types::{Logprob, TokenLogprob};

#[derive(Serialize, ToSchema)]
pub(super) struct LogprobsBody<'a> {
    content: Vec<TokenBody<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TokenBody<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    token: LogprobBody<'a>,
    top_logprobs: Vec<LogprobBody<'a>>,
}

#[derive(Serialize, ToSchema)]
struct LogprobBody<'a> {
    token: &'a str,
    logprob: f32,
    bytes: &'a [u8],
}

impl<'a> From<&'a Logprob> for LogprobBody<'a> {
    fn from(Logprob { text, bytes, logprob }: &'a Logprob) -> Self {
        Self { token: text, logprob: *logprob, bytes }
    }
}

impl<'a> LogprobsBody<'a> {
    /// `None` where they were not asked for.
    pub(super) fn new(tokens: &'a [TokenLogprob], top: usize) -> Option<Self> {
        (!tokens.is_empty()).then(|| Self { content: TokenBody::list(tokens, top) })
    }
}

impl<'a> TokenBody<'a> {
    /// Tells at most `top` tokens at each position: a backend may tell more.
    pub(in crate::http) fn list(tokens: &'a [TokenLogprob], top: usize) -> Vec<Self> {
        let token = |told: &'a TokenLogprob| Self {
            token: (&told.token).into(),
            top_logprobs: told.top.iter().take(top).map(LogprobBody::from).collect(),
        };
        tokens.iter().map(token).collect()
    }
}

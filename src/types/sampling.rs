//! Sampling parameters, and log probabilities of tokens.

use serde::{Deserialize, Serialize};

/// Sampling parameters; an absent field is the backend's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 (greedy) to 2.
    pub temperature: Option<f32>,
    /// 0 to 1.
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    /// 0 to 1: minimum probability of a token, as a share of that of the most likely one.
    pub min_p: Option<f32>,
    /// 0 to 1.
    pub typical_p: Option<f32>,
    /// 1 is none.
    pub repeat_penalty: Option<f32>,
    /// Tokens that `repeat_penalty` looks back at; -1 for the whole context.
    pub repeat_last_n: Option<i32>,
    /// -2 to 2, 0 is none.
    pub presence_penalty: Option<f32>,
    /// -2 to 2, 0 is none.
    pub frequency_penalty: Option<f32>,
    /// Sampler that keeps the perplexity of the answer constant: 0 is off, 1 and 2 are its versions.
    pub mirostat: Option<u32>,
    /// Target entropy of `mirostat`.
    pub mirostat_tau: Option<f32>,
    /// Learning rate of `mirostat`.
    pub mirostat_eta: Option<f32>,
    /// By token id, in ascending order: added to the token's logit; -100 bans it, 100 forces it.
    pub logit_bias: Vec<(u32, f32)>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    pub max_tokens: Option<u32>,
}

impl Sampling {
    /// Whether two answers to one request may differ by chance.
    pub fn is_random(&self) -> bool {
        self.seed.is_none() && self.temperature != Some(0.0)
    }
}

/// A token of an answer with its natural-log probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub token: Logprob,
    /// Most likely tokens at its position, in descending order, as many as were requested.
    pub top: Vec<Logprob>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logprob {
    /// Bytes that are not valid UTF-8 by themselves are replaced in it.
    pub text: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
}

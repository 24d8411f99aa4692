//! Sampling parameters of a request.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::types::Sampling;

/// Sampling parameters that `/v1/chat/completions` and llama.cpp's `/completion` name alike.
#[derive(Serialize)]
pub struct SamplingBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typical_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_last_n: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    /// llama.cpp.
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_tau: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_eta: Option<f32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    logit_bias: BTreeMap<u32, f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    /// llama.cpp: off with a seed, because a prompt that is partly cached is computed in other batches, with other
    /// rounding errors, and the seed would not repeat its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<&'a str>,
}

impl<'a> SamplingBody<'a> {
    pub fn new(sampling: &'a Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k.map(sampled),
            min_p: sampling.min_p,
            typical_p: sampling.typical_p,
            repeat_penalty: sampling.repeat_penalty,
            repeat_last_n: sampling.repeat_last_n,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            mirostat: sampling.mirostat,
            mirostat_tau: sampling.mirostat_tau,
            mirostat_eta: sampling.mirostat_eta,
            logit_bias: sampling.logit_bias.iter().copied().collect(),
            seed: sampling.seed,
            cache_prompt: sampling.seed.map(|_| false),
            // An empty stop sequence is met before the first letter.
            stop: sampling.stop.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect(),
        }
    }
}

/// Number of most likely tokens to ask for: llama.cpp takes 0 for no probabilities at all.
pub fn told(logprobs: Option<u8>) -> Option<u8> {
    logprobs.map(|top| top.max(1))
}

/// Counts are signed 32-bit numbers in llama.cpp, and a negative one means "no limit".
pub fn sampled(count: u32) -> u32 {
    count.min(i32::MAX as u32)
}

//! Embedding: texts in, vectors out, in the same order.

use super::{KeepAlive, Timings};

#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// The resolved name of an existing model.
    pub model: String,
    /// At least one text.
    pub input: Vec<String>,
    /// Whether a text that is longer than the model accepts is cut, and not refused.
    pub truncate: bool,
    pub keep_alive: Option<KeepAlive>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedReply {
    /// One vector for each text, in input order, all of one length.
    pub embeddings: Vec<Vec<f32>>,
    /// The places of the texts that were cut, in order.
    pub truncated: Vec<usize>,
    pub prompt_tokens: u64,
    pub timings: Timings,
}

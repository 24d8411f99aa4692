//! Embedding: texts in, vectors out, in the same order.

use super::{KeepAlive, Timings};

#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// The resolved name of an existing model.
    pub model: String,
    /// At least one text.
    pub input: Vec<String>,
    pub keep_alive: Option<KeepAlive>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedReply {
    /// One vector for each text, in input order, all of one length.
    pub embeddings: Vec<Vec<f32>>,
    pub prompt_tokens: u64,
    pub timings: Timings,
}

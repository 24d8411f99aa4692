//! One installed model, and the paths of its files.

use std::{path::PathBuf, sync::Arc};

use super::modelfile::Modelfile;
use crate::types::{ControlTokens, Model, ModelName};

/// One installed model. Its files existed when it was listed.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: ModelName,
    /// Model as `/models` shows it; `source` is `embedded` and `loaded` is false here.
    pub model: Model,
    /// Path of the GGUF file with the language model. Of a split model it is a link to the first part, beside links
    /// to the others, which `ModelStore::verify` makes.
    pub weights: PathBuf,
    /// Identity of the weights in hexadecimal: the sha256 of their file, as the manifest states it.
    pub weights_digest: String,
    /// Files of the weights; several if they are split.
    pub parts: Vec<WeightsFile>,
    /// The GGUF file with the vision tower and projector.
    pub projector: Option<PathBuf>,
    pub projector_digest: Option<String>,
    pub architecture: Architecture,
    /// Name of llama.cpp's template for chats, in place of the one that the GGUF lacks.
    pub chat_template: Option<&'static str>,
    pub modelfile: Modelfile,
    /// Control tokens of its tokenizer, and the marks that stand for images in a prompt.
    pub control_tokens: Arc<ControlTokens>,
}

/// One file of a model's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsFile {
    pub path: PathBuf,
    /// sha256 in hexadecimal, as the manifest states it.
    pub digest: String,
}

/// Architecture facts that the engine needs before it starts a child, read from the GGUF's header.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// `general.architecture`: `llama`, `qwen2`, `bert` …
    pub name: String,
    /// Tokens the model was trained for.
    pub context_length: u64,
    pub block_count: u64,
    /// Length of a token's vector.
    pub embedding_length: Option<u64>,
    /// Bytes in the KV cache for one token, in all layers, at 16 bits per value.
    pub kv_bytes_per_token: u64,
    /// Number of tokens in the vocabulary, if the file has one.
    pub tokens: Option<u64>,
    /// Maximum number of bytes that one token represents; `None` if there is none, because the tokenizer
    /// drops spaces or unknown words.
    pub longest_token: Option<u64>,
    /// Whether it is an embedding model: an encoder such as BERT, or one with a pooling type.
    pub embedding_only: bool,
    pub has_chat_template: bool,
}

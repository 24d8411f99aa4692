//! Facts about one model beyond its line in the list, and about models in memory.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{KeepAlive, MemoryEstimate, Model};

/// Everything that is known of a model without asking it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDetails {
    pub model: Model,
    /// Default parameters by Ollama's names.
    pub parameters: Map<String, Value>,
    pub template: Option<String>,
    /// System prompt.
    pub system: Option<String>,
    pub license: Option<String>,
    /// Facts from the header of its GGUF file, by their names there.
    pub info: Map<String, Value>,
    /// `None` where the backend does not say.
    pub memory: Option<MemoryEstimate>,
}

/// A model in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedModel {
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Bytes of it that are GPU memory; `None` where the backend does not say.
    pub gpu_memory: Option<u64>,
    /// Requests that it answers in parallel, and those that it is answering.
    pub slots: Option<usize>,
    pub slots_busy: Option<usize>,
    /// Tokens of one slot.
    pub context: Option<u64>,
    /// When it is unloaded if it is not used before; `None` while it is used, or when it stays.
    pub expires_at: Option<Timestamp>,
}

/// How a model is to be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The backend's default when absent; zero unloads it.
    pub keep_alive: Option<KeepAlive>,
    /// Tokens of prompt and answer together; the model's or the backend's default when absent.
    pub context: Option<u32>,
}

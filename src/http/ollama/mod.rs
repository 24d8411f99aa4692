//! Ollama's API (<https://github.com/ollama/ollama/blob/main/docs/api.md>): its bodies, replies and errors, around the
//! same pipeline as the native API.

mod error;

pub(super) use error::OllamaError;

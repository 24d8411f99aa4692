//! Ollama's API (<https://github.com/ollama/ollama/blob/main/docs/api.md>): its bodies, replies and errors, around the
//! same pipeline as the native API.

pub(super) mod blobs;
pub(super) mod chat;
mod common;
pub(super) mod create;
pub(super) mod embed;
mod error;
pub(super) mod generate;
pub(super) mod manage;
mod message;
pub(super) mod models;
mod names;
mod options;
pub(super) mod pull;
mod reply;
pub(super) mod show;
pub(super) mod version;

pub(super) use error::OllamaError;
pub(super) use version::asks_whether_it_runs;

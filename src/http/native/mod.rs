//! Simpleton's own API.

mod content;
pub(super) mod documents;
pub(super) mod embeddings;
pub(super) mod inference;
pub(super) mod message;
pub(super) mod models;
pub(super) mod pull;
mod reply;
mod schemas;
pub(super) mod vision;

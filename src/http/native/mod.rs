//! Simpleton's own API.

mod content;
pub(super) mod embeddings;
pub(super) mod inference;
mod message;
mod reply;
mod schemas;
pub(super) mod vision;

//! Simpleton's own API.

mod content;
pub(super) mod embeddings;
pub(super) mod inference;
mod message;
pub(super) mod models;
mod reply;
mod schemas;
pub(super) mod vision;

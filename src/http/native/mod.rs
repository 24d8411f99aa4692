//! Simpleton's own API.

pub(super) mod content;
pub(super) mod documents;
pub(super) mod embeddings;
pub(super) mod inference;
pub(super) mod message;
pub(super) mod models;
pub(super) mod pull;
mod reply;
pub(super) mod schemas;
pub(super) mod suggested;
pub(super) mod vision;

//! Anthropic's API (<https://docs.anthropic.com/en/api/messages>): its bodies, replies and errors, around the same
//! pipeline as the native API.

pub(super) mod betas;
mod blocks;
mod body;
mod content;
pub(super) mod count;
mod error;
mod image;
pub(super) mod messages;
pub(super) mod models;
mod reply;
mod thinking;
mod tools;
mod turns;
mod usage;

use axum::http::HeaderName;

pub(super) use error::AnthropicError;

/// Header that every client of Anthropic's API sends.
pub(super) const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

//! OpenAI's API (<https://platform.openai.com/docs/api-reference>): its bodies, replies and errors, around the same
//! pipeline as the native API.

pub(super) mod chat;
mod choices;
pub(super) mod completions;
pub(super) mod embeddings;
mod error;
pub(super) mod logprobs;
mod message;
pub(super) mod models;
mod prompts;
mod reply;
pub(super) mod responses;
mod sampling;
mod tools;
mod usage;

pub(super) use error::OpenAiError;

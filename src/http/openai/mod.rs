//! OpenAI's API (<https://platform.openai.com/docs/api-reference>): its bodies, its replies and its errors around the
//! pipeline that the native API uses, too.

pub(super) mod chat;
mod choices;
pub(super) mod completions;
pub(super) mod embeddings;
mod error;
mod ignored;
mod logprobs;
mod message;
pub(super) mod models;
mod prompts;
mod reply;
mod sampling;
mod tools;
mod usage;

pub(super) use error::OpenAiError;

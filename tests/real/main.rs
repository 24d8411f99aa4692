//! The whole server with a real language model, Qwen2.5-Coder 0.5B, over HTTP. Answers are asked for at temperature 0;
//! what is compared is what any build of the engine gets right.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod anthropic;
mod conversations;
mod documents;
mod harness;
mod limits;
mod ollama;
mod openai;
mod responses;

#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/real_models.rs"]
mod real_models;
#[path = "../../testing/real_server.rs"]
mod real_server;

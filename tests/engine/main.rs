//! The embedded engine with the real llama-server and the demo model. llama-server is found by
//! `LLAMA_SERVER`, in the default data folder, or on `PATH`; without it these tests fail.

mod chat;
mod embeddings;
mod failures;
mod fence;
mod harness;
mod hostile;
mod images;
mod limits;
mod models;
mod ollama;
mod orphans;
mod plain_text;
mod refusals;
mod service;
mod split;
mod unloading;
mod vision;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/gguf_split.rs"]
mod gguf_split;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/manifest.rs"]
mod manifest;

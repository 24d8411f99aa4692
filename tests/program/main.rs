//! The program as a person runs it: the real binary, its own engine, signals.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod chat;
mod commands;
mod harness;
mod ingest;
mod lifetime;
mod models;
mod read_only;
mod reference;
mod settings;
mod state;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/manifest.rs"]
mod manifest;
#[path = "../../testing/terminal.rs"]
mod terminal;

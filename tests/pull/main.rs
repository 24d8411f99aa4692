//! Pulls of models: from a real registry, from a scripted Hugging Face, and from registries that misbehave.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod bad_registries;
mod harness;
mod hugging_face;
mod offer;
mod program;
mod progress;
mod real_registry;
mod registry;
mod relay;
mod scripted;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/gguf_split.rs"]
mod gguf_split;
#[path = "../../testing/terminal.rs"]
mod terminal;

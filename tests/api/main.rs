//! The HTTP API against a real server on a free port, in front of a scripted Ollama.

mod bad_days;
mod bad_input;
mod embeddings;
mod fake_ollama;
mod harness;
mod inference;
mod service;

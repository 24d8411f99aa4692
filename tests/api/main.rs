//! The HTTP API against a real server on a free port, in front of a scripted Ollama.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod alerts;
mod analytics;
mod analytics_over_time;
mod anthropic;
mod anthropic_bad_input;
mod backends;
mod bad_days;
mod bad_input;
mod cache;
mod compatibility;
mod connections;
mod control_tokens;
mod cors;
mod dashboard;
mod dialect_bad_input;
mod dialect_cache;
mod documented;
mod documents;
mod embeddings;
mod harness;
mod inference;
mod keys;
mod kill;
mod logs;
mod models;
mod ocr;
mod ollama_api;
mod ollama_api_bad_input;
mod ollama_api_models;
mod openai;
mod openapi;
mod prometheus;
mod rag;
mod rag_bad_days;
mod rag_bad_input;
mod rag_chats;
mod rag_reindex;
mod rag_store;
mod rag_upload;
mod raw;
mod responses;
mod responses_background;
mod responses_bad_input;
mod responses_stored;
mod schemas;
mod service;
mod shutdown;
mod silence;
mod slow_bodies;
mod tool_answers;
mod traces;
mod unknown_names;
mod vision;
mod vision_bad_input;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/ollama/mod.rs"]
mod ollama;
#[path = "../../testing/qdrant/mod.rs"]
mod scripted_qdrant;

//! Simpleton: a self-hosted AI server in one program. This page is the map: modules by layer, each
//! importing from the layers above it on this page. `tests/tidy/layers.rs` holds the rule.

// 0 ground: knows nothing of the product
pub mod data_dir;
pub mod error;
pub mod files;
pub mod http_client;
pub mod request_context;
pub(crate) mod sqlite;
pub mod value_parser;

// 1 pure: no I/O
pub mod images;
pub mod json_schema;
pub mod text;
pub mod types;
pub mod wire;

// 2 adapters: one part of the outside world each
pub mod backend;
pub mod cache;
pub mod engine;
pub mod extractor;
pub mod model_store;
pub mod store;
pub mod telemetry;
pub mod tesseract;
pub mod vectors;

// 3 product: no axum, no SQL, no vendor JSON
pub mod app;
pub mod config;

// 4 edges: HTTP and the command line
pub mod cli;
pub mod http;
pub mod server;

#[cfg(test)]
#[path = "../testing/eventually.rs"]
mod eventually;

//! Simpleton: a self-hosted AI server in one program. This page is the map: modules in layer order,
//! each importing only what stands above it. `tests/tidy.rs` holds the rule.

// 0 foundation: errors, settings' values, files, the data folder, the outgoing HTTP client
pub mod data_dir;
pub mod error;
pub mod files;
pub mod http_client;
pub mod request_context;
pub(crate) mod sqlite;
pub mod value_parser;

// 1 pure: our vocabulary and the vendors' formats, no I/O
pub mod images;
pub mod json_schema;
pub mod types;
pub mod wire;

// 2 adapters: each owns its settings
pub mod backend;
pub mod cache;
pub mod engine;
pub mod model_store;
pub mod store;
pub mod telemetry;
pub mod tesseract;

// 3 product: no axum, no SQL, no vendor JSON
pub mod app;
pub mod config;

// 4 edges
pub mod cli;
pub mod http;
pub mod server;

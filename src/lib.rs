//! Simpleton: a self-hosted AI server in one program. This page is the map: modules in layer order,
//! each importing only what stands above it. `tests/tidy.rs` holds the rule.

// 0 foundation
pub mod client;
pub mod error;
// 1 pure: no I/O
pub mod types;
pub mod wire;
// 2 adapters: each owns its Settings
pub mod backend;
pub mod engine;
pub mod library;
// 3 product: no axum, no SQL, no vendor JSON
// 4 edges
pub mod cli;

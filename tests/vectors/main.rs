//! One contract for every document store, and the bad days of each of them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod at_once;
mod documents;
mod embedded;
mod filters;
mod harness;
mod qdrant;
mod reindex;
mod search;

#[path = "../../testing/eventually.rs"]
mod eventually;

#[path = "../../testing/qdrant/mod.rs"]
mod scripted_qdrant;

//! One contract for every store of documents and vectors, and the bad days of the embedded one.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod at_once;
mod documents;
mod embedded;
mod filters;
mod harness;
mod reindex;
mod search;

#[path = "../../testing/eventually.rs"]
mod eventually;

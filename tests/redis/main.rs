//! The Redis store against the real redis-server (Debian: `apt-get install redis-server`), which the
//! tests start, stop, stall and starve.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod bad_days;
mod basics;
mod places;
mod relay;
mod replicas;
mod server;

#[path = "../../testing/eventually.rs"]
mod eventually;

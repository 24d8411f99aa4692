//! Shared parts of the benchmarks: programs started and ended in order, a fake Ollama, a lean HTTP client, and
//! tables.

pub mod children;
pub mod client;
#[path = "../../testing/ollama/mod.rs"]
pub mod ollama;
pub mod processor;
pub mod report;
pub mod upstream;

use std::{sync::LazyLock, time::Instant};

/// The one clock of the process: client and fake server are in it, so their times can be compared.
pub fn nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).expect("less than 500 years")
}

/// Result of a benchmark. A missed target is no error.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The parts named on the command line; all of them when none is. `cargo bench` adds `--bench`.
pub fn wanted(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

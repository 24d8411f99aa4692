//! Log lines on standard error, pretty for people or JSON for machines.

mod line;
mod requests;
mod writer;

use std::{
    io::IsTerminal,
    sync::{OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use self::requests::RequestLines;
use self::{
    line::{Json, PrettyFields},
    writer::Lines,
};
use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// With Python's names, which the settings of the service before us used.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
        ("warning", Self::Warn),
        ("critical", Self::Error),
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Pretty,
    Json,
}

impl Format {
    pub const WORDS: &'static [(&'static str, Self)] = &[("pretty", Self::Pretty), ("json", Self::Json)];
}

/// Starts logging for the whole process. A second call does nothing.
///
/// # Errors
/// `Setup` when the system gives no thread to write lines.
pub fn start(level: Level, format: Format) -> Result<()> {
    let refused =
        |source| Error::new(Kind::Setup, "The system does not allow any more threads.").with_source(source);
    let writer = Lines::new(std::io::stderr()).map_err(refused)?;
    let writer = LINES.get_or_init(|| writer).clone();
    // Our own lines at the chosen level; libraries speak up only when something is wrong.
    let (libraries, ours) = match level {
        Level::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        Level::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        Level::Info => (LevelFilter::WARN, LevelFilter::INFO),
        Level::Debug => (LevelFilter::WARN, LevelFilter::DEBUG),
        Level::Trace => (LevelFilter::DEBUG, LevelFilter::TRACE),
    };
    let filter = Targets::new().with_default(libraries).with_target("simpleton", ours);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(writer);
    // An error only says that logging has been started before.
    let _ = match format {
        Format::Pretty => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
            registry.with(lines.fmt_fields(PrettyFields)).try_init()
        }
        Format::Json => registry.with(lines.event_format(Json)).try_init(),
    };
    Ok(())
}

/// Standard error, once logging has started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Waits a moment for lines that are not written yet; to be called at the end of the process.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish(Duration::from_secs(1));
    }
}

/// Lines dropped since the start.
pub fn dropped() -> u64 {
    writer::DROPPED.load(Relaxed)
}

//! Log lines on standard error, pretty for people or JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{Settings, observation::Observed, sink::Sink};

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
pub fn start(settings: &Settings) {
    // Our own lines at the chosen level; libraries speak up only when something is wrong.
    let filter = match settings.log_level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "warn,simpleton=info",
        Level::Debug => "warn,simpleton=debug",
        Level::Trace => "debug,simpleton=trace",
    };
    let registry = tracing_subscriber::registry().with(EnvFilter::new(filter));
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    // An error only says that logging has been started before.
    let _ = match settings.log_format {
        Format::Pretty => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// One line for each request, at its end.
pub struct RequestLines;

impl Sink for RequestLines {
    fn request_ended(&self, observed: &Observed) {
        tracing::info!(
            request_id = observed.request_id,
            method = observed.method,
            path = observed.path,
            status = observed.status,
            duration_ms = observed.duration.as_secs_f64() * 1e3,
            "request"
        );
    }
}

//! Observability: logs, metrics, traces, and aggregates over time. Each request has one
//! `RequestRecorder`, whose finished record every sink gets.

pub mod aggregates;
pub mod labels;
pub mod logs;
pub mod metrics;
pub mod model_call;
pub mod record;
pub mod recorder;
pub mod sink;
mod text;
pub mod traces;

use std::sync::Arc;

use clap::Args;

pub use self::sink::Sinks;
use self::{
    aggregates::Aggregator,
    labels::RouteLabel,
    logs::{Format, Level, RequestLines},
    metrics::Metrics,
    sink::Sink,
    traces::{Exporter, Traces},
};
use crate::error::Result;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Monitoring")]
#[group(skip)]
pub struct Settings {
    /// Least severe level to log: error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_parser = crate::value_parser::word(Level::WORDS))]
    pub log_level: Level,
    /// Format of log lines: pretty or json
    #[arg(long, env = "LOG_FORMAT", default_value = "pretty", value_parser = crate::value_parser::word(Format::WORDS))]
    pub log_format: Format,
    /// Whether to collect metrics and statistics and to raise alerts
    #[arg(long, env = "MONITORING_ENABLED", default_value = "true", action = clap::ArgAction::Set, value_parser = crate::value_parser::switch)]
    pub monitoring_enabled: bool,
    /// Whether /metrics, /analytics/stats and /analytics/alerts need an API key, like the rest of /analytics
    #[arg(long, env = "ANALYTICS_REQUIRE_KEY", default_value = "false", action = clap::ArgAction::Set, value_parser = crate::value_parser::switch)]
    pub analytics_require_key: bool,
    #[command(flatten)]
    pub traces: traces::Settings,
}

/// Everything that looks at requests, built once.
pub struct Monitoring {
    /// Whether requests are counted; the log has its lines in either case.
    pub enabled: bool,
    pub metrics: Arc<Metrics>,
    pub aggregator: Arc<Aggregator>,
    /// Destinations of every finished record.
    pub sinks: Sinks,
    /// The share of traces to record; none when traces are off.
    pub traced: Option<f64>,
}

impl Monitoring {
    /// With the exporter to run when traces are on. `routes` are all that exist.
    ///
    /// # Errors
    /// `Setup` when the collector of traces has a URL that cannot be used.
    pub fn new(settings: &Settings, routes: &[RouteLabel]) -> Result<(Self, Option<Exporter>)> {
        let metrics = Arc::new(Metrics::new(routes));
        // Without monitoring the aggregates read a cache that counts nothing.
        let cache = if settings.monitoring_enabled { Arc::clone(&metrics.cache) } else { Arc::default() };
        let aggregator = Arc::new(Aggregator::new(Arc::clone(&metrics.http), cache));
        let mut sinks: Vec<Arc<dyn Sink>> = vec![Arc::new(RequestLines)];
        if settings.monitoring_enabled {
            sinks.push(Arc::clone(&metrics) as Arc<dyn Sink>);
            sinks.push(Arc::clone(&aggregator) as Arc<dyn Sink>);
        }
        let traces = Traces::open(&settings.traces, Arc::clone(&metrics.traces))?;
        let (traces, exporter) = traces.unzip();
        sinks.extend(traces.map(|traces| Arc::new(traces) as Arc<dyn Sink>));
        let monitoring = Self {
            enabled: settings.monitoring_enabled,
            metrics,
            aggregator,
            sinks: Sinks::new(sinks),
            traced: settings.traces.share(),
        };
        Ok((monitoring, exporter))
    }
}

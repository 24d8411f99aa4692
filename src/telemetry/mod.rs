//! What can be seen of the service: logs and metrics.

mod cache;
pub mod logs;
pub mod metrics;
mod text;
mod vision;

use clap::Args;

use self::logs::{Format, Level};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Monitoring")]
#[group(skip)]
pub struct Settings {
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_parser = crate::setting::word(Level::WORDS))]
    pub log_level: Level,
    /// How a log line looks: pretty or json
    #[arg(long, env = "LOG_FORMAT", default_value = "pretty", value_parser = crate::setting::word(Format::WORDS))]
    pub log_format: Format,
}

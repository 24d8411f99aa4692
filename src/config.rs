//! All settings in one place. Every module declares its own `Settings` beside the code they
//! configure; here they are put together, filled from flags, the environment and `.env` (in this
//! order), and checked, with every problem reported at once.

mod dot_env;
mod layers;
mod names;
mod render;
mod setting;

use std::path::PathBuf;

use clap::Args;

pub(crate) use self::layers::add_flags;
pub use self::{
    layers::{Sources, load},
    render::{env_example, markdown, table},
    setting::{Origin, Problem, Setting, ShownSetting},
};
use crate::{
    app, backend::ollama, cache, data_dir::DataDir, engine, extractor, http_client, model_store, store,
    telemetry, tesseract, types::Secret, value_parser, vectors,
};

#[derive(Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerSettings,
    #[command(flatten)]
    pub models: app::catalog::Settings,
    #[command(flatten)]
    pub ollama: ollama::Settings,
    #[command(flatten)]
    pub engine: engine::Settings,
    #[command(flatten)]
    pub model_store: model_store::Settings,
    #[command(flatten)]
    pub pull: model_store::pull::Settings,
    #[command(flatten)]
    pub client: http_client::Settings,
    #[command(flatten)]
    pub images: app::images::Settings,
    #[command(flatten)]
    pub ocr: tesseract::Settings,
    #[command(flatten)]
    pub documents: extractor::Settings,
    #[command(flatten)]
    pub rag: app::rag::Settings,
    #[command(flatten)]
    pub vectors: vectors::Settings,
    #[command(flatten)]
    pub cache: cache::Settings,
    #[command(flatten)]
    pub history: store::Settings,
    #[command(flatten)]
    pub responses: store::responses::Settings,
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
    #[command(flatten)]
    pub alerts: app::alerts::Settings,
    /// All settings as people see them.
    #[arg(skip)]
    pub shown: Vec<ShownSetting>,
}

/// Settings of the HTTP server: address, keys and limits.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
#[group(skip)]
pub struct ServerSettings {
    /// Address to listen on. Use 0.0.0.0 for all network interfaces
    #[arg(long, env = "HOST", default_value = "127.0.0.1", value_parser = value_parser::host)]
    pub host: String,
    /// Port to listen on. Use 0 for any free port
    #[arg(long, env = "PORT", default_value = "8000", value_parser = value_parser::whole(0..=u16::MAX))]
    pub port: u16,
    /// API keys that clients may use, separated by commas; each has 8 to 256 visible ASCII characters. If unset, a key is generated on first start and saved in the data directory
    #[arg(long, env = "API_KEYS", value_delimiter = ',', hide_env_values = true, value_parser = app::keys::api_key)]
    pub api_keys: Vec<Secret>,
    /// Folder with the dashboard's files, in place of those in the program; for tests.
    #[arg(skip)]
    pub dashboard: Option<PathBuf>,
    /// Directory for everything the server stores: API key, models, caches and databases
    #[arg(long, env = "DATA_DIR", default_value_os_t = DataDir::default_path(), value_parser = value_parser::path)]
    pub data_dir: PathBuf,
    /// Maximum size of a request body, in megabytes
    #[arg(long, env = "MAX_BODY_MB", default_value = "32", value_parser = value_parser::whole(1..=1024_u64))]
    pub max_body_mb: u64,
    /// Megabytes of memory for large request bodies that are not decoded yet. One API key may use half of it; further requests wait
    #[arg(long, env = "MAX_BODIES_MB", default_value = "256", value_parser = value_parser::whole(1..=1_048_576_u64))]
    pub max_bodies_mb: u64,
    /// Seconds a client may pause while sending a request. A body that takes longer than this must arrive at 16 kB per second or faster
    #[arg(long, env = "REQUEST_TIMEOUT_S", default_value = "30", value_parser = value_parser::seconds(1..=3600))]
    pub request_timeout_s: u64,
    /// Maximum number of open connections; idle ones are closed to make room. Defaults to as many as the limit on open files (ulimit -n) allows, up to 4096
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = value_parser::whole(1..=1_048_576_usize))]
    pub max_connections: Option<usize>,
    /// Maximum number of open connections from one address (for IPv6, one /64 network). Defaults to half of MAX_CONNECTIONS, and to all of them for this machine's own addresses. Raise it if requests come through a proxy on another machine
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS", value_parser = value_parser::whole(1..=1_048_576_usize))]
    pub max_connections_per_address: Option<usize>,
    /// Origins whose web pages may use the API, such as http://localhost:3000, separated by commas; * allows all
    #[arg(long, env = "CORS_ORIGINS", value_delimiter = ',', value_parser = value_parser::origin)]
    pub cors_origins: Vec<String>,
    /// Seconds to wait for a stream's first event before its response headers are sent. Errors after that are sent as an event instead of an HTTP status
    #[arg(long, env = "STREAM_HEADERS_AFTER_S", default_value = "10", value_parser = value_parser::seconds(0..=3600))]
    pub stream_headers_after_s: u64,
    /// Seconds of silence after which a stream sends a comment, so that proxies keep the connection open
    #[arg(long, env = "STREAM_PING_S", default_value = "15", value_parser = value_parser::seconds(1..=3600))]
    pub stream_ping_s: u64,
    /// Seconds to let running requests finish when the server is stopped
    #[arg(long, env = "SHUTDOWN_TIMEOUT_S", default_value = "30", value_parser = value_parser::seconds(0..=3600))]
    pub shutdown_timeout_s: u64,
}

//! All settings in one place. Every module declares its own `Settings` beside the code they
//! configure; here they are put together, filled from flags, the environment and `.env` (in this
//! order), and checked, with every problem reported at once.

mod dot_env;
mod layers;
mod names;
mod render;

use std::path::PathBuf;

use clap::Args;

pub(crate) use self::layers::add_flags;
pub use self::{
    layers::{Origin, Problem, Setting, Sources, load},
    render::{env_example, markdown, table},
};
use crate::{
    app, backend::ollama, cache, data_dir::DataDir, engine, http_client, model_store, store, telemetry,
    tesseract, types::Secret, value_parser,
};

#[derive(Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerSettings,
    #[command(flatten)]
    pub models: app::models::Settings,
    #[command(flatten)]
    pub ollama: ollama::Settings,
    #[command(flatten)]
    pub engine: engine::Settings,
    #[command(flatten)]
    pub model_store: model_store::Settings,
    #[command(flatten)]
    pub client: http_client::Settings,
    #[command(flatten)]
    pub pictures: app::pictures::Settings,
    #[command(flatten)]
    pub ocr: tesseract::Settings,
    #[command(flatten)]
    pub cache: cache::Settings,
    #[command(flatten)]
    pub history: store::Settings,
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
    #[command(flatten)]
    pub alerts: app::alerts::Settings,
}

/// Settings of the HTTP server: address, keys and limits.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
#[group(skip)]
pub struct ServerSettings {
    /// Address to listen on; 0.0.0.0 for every network this machine is in
    #[arg(long, env = "HOST", default_value = "127.0.0.1", value_parser = value_parser::host)]
    pub host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value = "8000", value_parser = value_parser::whole(0..=u16::MAX))]
    pub port: u16,
    /// Keys that open the API, separated by commas, each of 8 to 256 letters, digits and signs without spaces; when none is given one is made at the first start and kept in the data folder
    #[arg(long, env = "API_KEYS", value_delimiter = ',', hide_env_values = true, value_parser = app::keys::api_key)]
    pub api_keys: Vec<Secret>,
    /// Folder for everything the server keeps: its key, models, caches and databases
    #[arg(long, env = "DATA_DIR", default_value_os_t = DataDir::default_path(), value_parser = value_parser::path)]
    pub data_dir: PathBuf,
    /// Megabytes a request's body may have
    #[arg(long, env = "MAX_BODY_MB", default_value = "32", value_parser = value_parser::whole(1..=1024_u64))]
    pub max_body_mb: u64,
    /// Megabytes that all large bodies together may take until they are decoded; those of one key may take half of it; further ones wait
    #[arg(long, env = "MAX_BODIES_MB", default_value = "256", value_parser = value_parser::whole(1..=1_048_576_u64))]
    pub max_bodies_mb: u64,
    /// Seconds a client may pause while it sends its request; after them a body must come at 16 kB a second on average
    #[arg(long, env = "REQUEST_TIMEOUT_S", default_value = "30", value_parser = value_parser::seconds(1..=3600))]
    pub request_timeout_s: u64,
    /// Connections at a time, of which idle ones are closed when more come; by default as many as the limit on open files (ulimit -n) allows, 4096 at most
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = value_parser::whole(1..=1_048_576_usize))]
    pub max_connections: Option<usize>,
    /// Connections that one address (of IPv6 one /64 network) may have at a time; by default half of all, and all for this machine's own; set it when a proxy on another machine stands in front
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS", value_parser = value_parser::whole(1..=1_048_576_usize))]
    pub max_connections_per_address: Option<usize>,
    /// Origins whose web pages may use the API, separated by commas, each as a browser sends it in its Origin header; * for all
    #[arg(long, env = "CORS_ORIGINS", value_delimiter = ',', value_parser = value_parser::origin)]
    pub cors_origins: Vec<String>,
    /// Seconds after which a stream begins although its first event is not there; an error is an event then and no status
    #[arg(long, env = "STREAM_HEADERS_AFTER_S", default_value = "10", value_parser = value_parser::seconds(0..=3600))]
    pub stream_headers_after_s: u64,
    /// Seconds of silence after which a stream sends a comment, so that no proxy takes it for dead
    #[arg(long, env = "STREAM_PING_S", default_value = "15", value_parser = value_parser::seconds(1..=3600))]
    pub stream_ping_s: u64,
    /// Seconds that running replies may take to finish when the server is told to stop
    #[arg(long, env = "SHUTDOWN_TIMEOUT_S", default_value = "30", value_parser = value_parser::seconds(0..=3600))]
    pub shutdown_timeout_s: u64,
}

//! The whole server with the real models.

use std::{net::SocketAddr, path::PathBuf};

use simpleton::{
    config::{Sources, load},
    error::Result,
    model_store::{Import, ModelStore},
    server::Server,
};
use tempfile::TempDir;

use crate::{llama_server::llama_server, real_models::real_model};

/// Model for text, which is also the default.
pub const MODEL: &str = "qwen2.5-coder:0.5b";
pub const KEY: &str = "test-key-0123456789";

pub struct RealServer {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    task: tokio::task::JoinHandle<Result<()>>,
    _data_dir: TempDir,
}

impl RealServer {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().expect("a data directory");
        install(data_dir.path().join("models"));
        let engine = llama_server();
        let fixed = [
            ("PORT", "0"),
            ("API_KEYS", KEY),
            ("DATA_DIR", data_dir.path().to_str().expect("a path in UTF-8")),
            ("LLAMA_SERVER", engine.to_str().expect("a path in UTF-8")),
        ];
        let variables =
            fixed.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut config = load(&Sources::from_environment(variables)).1.expect("valid settings");
        // This program is the test.
        config.documents.program = Some(env!("CARGO_BIN_EXE_simpleton").into());
        let server = Server::prepare(&config).await.expect("a server");
        let address = server.address().expect("an address");
        let task = tokio::spawn(server.run(std::future::pending()));
        // An error only says that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, client, task, _data_dir: data_dir }
    }

    /// Value of a series of `/metrics`.
    pub async fn metric(&self, series: &str) -> f64 {
        let response = self.client.get(format!("http://{}/metrics", self.address)).send().await;
        let text = response.expect("a response").text().await.expect("the metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in {text}"))
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn install(models: PathBuf) {
    let models = ModelStore::open(models).expect("a model store");
    for name in [MODEL, "all-minilm"] {
        let parsed = name.parse().expect("a model's name");
        let import = Import { name: &parsed, gguf: &real_model(name), projector: None, replace: false };
        models.import(import, |_, _| {}).expect("an import");
    }
}

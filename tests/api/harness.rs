//! Starts real servers on free ports and talks to them with a plain HTTP client.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use simpleton::{
    config::{Config, Sources, load},
    server::Server,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::ollama::scripted::FakeOllama;

pub const KEY: &str = "test-key-0123456789";

/// The setting with which the backend sees each request.
pub const UNCACHED: (&str, &str) = ("CACHE_ENABLED", "false");

pub struct TestServer {
    pub address: SocketAddr,
    pub ollama: FakeOllama,
    pub client: Client,
    /// Token of the address that a person would open.
    pub sign_in_token: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<simpleton::error::Result<()>>,
    _data_dir: TempDir,
}

/// A server in front of a scripted Ollama.
pub async fn start() -> TestServer {
    start_with(&[]).await
}

/// The same without a cache, so that the backend sees each request.
pub async fn start_uncached() -> TestServer {
    start_with(&[UNCACHED]).await
}

/// The same with other settings.
pub async fn start_with(settings: &[(&str, &str)]) -> TestServer {
    start_changed(settings, |_| {}).await
}

/// The same with a configuration that is changed where no setting reaches.
pub async fn start_changed(settings: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> TestServer {
    let ollama = FakeOllama::start().await;
    let data_dir = tempfile::tempdir().unwrap();
    let url = ollama.url();
    let mut variables = vec![
        ("PORT", "0"),
        ("API_KEYS", KEY),
        ("DATA_DIR", data_dir.path().to_str().unwrap()),
        ("OLLAMA_BASE_URL", &url),
    ];
    variables.retain(|(name, _)| !settings.iter().any(|(other, _)| other == name));
    variables.extend_from_slice(settings);
    let mut config = config(&variables);
    change(&mut config);
    let server = Server::prepare(&config).await.unwrap();
    let sign_in_token = server.sign_in_token().unwrap().expose().to_owned();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    // An error only says that it is there already: all tests may run in one process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().build().unwrap();
    TestServer { address, ollama, client, sign_in_token, stop: Some(stop), task, _data_dir: data_dir }
}

pub fn config(variables: &[(&str, &str)]) -> Config {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut config = load(&Sources::from_environment(owned)).1.unwrap();
    // This program is the test.
    config.documents.program = Some(env!("CARGO_BIN_EXE_simpleton").into());
    config
}

impl TestServer {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Without a key.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    /// JSON with the right key.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.post_text(path, body.to_string())
    }

    pub fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.client.post(self.url(path)).header("x-api-key", KEY);
        request.header("content-type", "application/json").body(body)
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        (&mut self.task).await.unwrap().unwrap();
    }

    /// The value of one series of `/metrics`, 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn json(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// The error's status and its problem details, whose form is checked.
pub async fn problem(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem = json(response).await;
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], id);
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {problem}");
    }
    (status, problem)
}

/// The fields that a problem names, in its order.
pub fn pointers_of(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

/// The data of all events of an SSE text, with the name of each (`message` when it has none).
pub fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let name = field("event:").unwrap_or("message").to_owned();
            (name, serde_json::from_str(field("data:").unwrap()).unwrap())
        })
        .collect()
}

/// Waits for something that must come true.
pub async fn eventually(what: &str, check: impl AsyncFnMut() -> bool) {
    crate::eventually::eventually(Duration::from_secs(20), what, check).await;
}

//! The whole server on the embedded engine.

use std::path::{Path, PathBuf};

use serde_json::Value;
use simpleton::{
    config::{Sources, load},
    server::Server,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::llama_server::llama_server;

const KEY: &str = "test-key-0123456789";

/// The whole server on the embedded engine.
pub(crate) struct Service {
    url: String,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<simpleton::error::Result<()>>,
    folder: TempDir,
}

impl Service {
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = llama_server();
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (folder_path, engine) = (text(folder.path()), text(&engine));
        let own = [("PORT", "0"), ("API_KEYS", KEY), ("DATA_DIR", &*folder_path), ("LLAMA_SERVER", &*engine)];
        let variables = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = load(&Sources::from_environment(variables)).1.expect("settings");
        let server = Server::prepare(&config).await.expect("a server");
        let url = format!("http://{}", server.address().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            // An error is a test that failed: the server ends all the same.
            let _ = stopped.await;
        }));
        // An error only says that it is there already: all tests may run in one process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, client, stop, task, folder }
    }

    pub(crate) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).header("x-api-key", KEY)
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).header("x-api-key", KEY)
    }

    pub(crate) fn delete(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.delete(format!("{}{path}", self.url)).header("x-api-key", KEY)
    }

    pub(crate) fn head(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.head(format!("{}{path}", self.url)).header("x-api-key", KEY)
    }

    /// The folder with its models.
    pub(crate) fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    pub(crate) async fn ask(&self, path: &str, body: Value) -> Value {
        let request = self.post(path).header("content-type", "application/json").body(body.to_string());
        answer(request).await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("no panic").expect("threads");
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    let (status, text) = (response.status(), response.text().await.expect("a body"));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

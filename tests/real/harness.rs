//! A server with the real model.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use simpleton::{
    config::{Sources, load},
    model_store::{Import, ModelStore},
    server::Server,
};
use tempfile::TempDir;

use crate::{llama_server::llama_server, real_models::real_model};

pub(crate) const MODEL: &str = "qwen2.5-coder:0.5b";
const KEY: &str = "test-key-0123456789";

pub(crate) struct RealServer {
    address: SocketAddr,
    client: reqwest::Client,
    task: tokio::task::JoinHandle<simpleton::error::Result<()>>,
    _data_dir: TempDir,
}

impl RealServer {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        install(data_dir.path().join("models"));
        let engine = llama_server();
        let fixed = [
            ("PORT", "0"),
            ("API_KEYS", KEY),
            ("DATA_DIR", data_dir.path().to_str().unwrap()),
            ("LLAMA_SERVER", engine.to_str().unwrap()),
        ];
        let variables =
            fixed.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = load(&Sources::from_environment(variables)).1.unwrap();
        let server = Server::prepare(&config).await.unwrap();
        let address = server.address().unwrap();
        let task = tokio::spawn(server.run(std::future::pending()));
        // An error only says that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, client, task, _data_dir: data_dir }
    }

    /// Status and JSON of the answer to a POST.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let request =
            self.client.post(url).header("x-api-key", KEY).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// Value of a series of `/metrics`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let url = format!("http://{}/metrics", self.address);
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }

    /// Reply to a chat at temperature 0 with other fields of the request.
    pub(crate) async fn chat(&self, messages: Value, fields: Value) -> Value {
        let mut body = json!({"messages": messages, "temperature": 0});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (status, reply) = self.post("/inference/chat", &body).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!(reply["model"], MODEL, "the largest model is the default");
        reply
    }

    /// Text of the answer to one question.
    pub(crate) async fn ask(&self, question: &str) -> String {
        text(&self.chat(json!([{"role": "user", "content": question}]), json!({})).await)
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn text(reply: &Value) -> String {
    reply["message"]["content"].as_str().unwrap().to_owned()
}

fn install(models: PathBuf) {
    let models = ModelStore::open(models).unwrap();
    for name in [MODEL, "all-minilm"] {
        let import =
            Import { name: &name.parse().unwrap(), gguf: &real_model(name), projector: None, replace: false };
        models.import(import, |_, _| {}).unwrap();
    }
}

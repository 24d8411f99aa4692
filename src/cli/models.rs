//! The models that commands manage: those of the running server or, without one, those on the disk or of an Ollama
//! server. All are described as in the HTTP API.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::running_server::{RunningServer, path_of};
use crate::{
    backend::{Backend, Embedded, FileProgress, ModelManager, Progress, PullStream, ollama::Ollama},
    config::Config,
    engine::Engine,
    error::{Error, Kind, Result},
    http::{DetailedModelReply, ModelsReply},
    model_store::{
        ModelStore,
        pull::{Pace, Puller},
    },
    types::ModelName,
    value_parser::without_password,
};

#[async_trait]
pub(super) trait Models {
    /// Line above the list.
    fn heading(&self) -> String;

    /// `GET /models`
    async fn list(&self) -> Result<Value>;

    /// `GET /models/{name}`
    async fn show(&self, name: &ModelName) -> Result<Value>;

    async fn pull(&self, name: &ModelName) -> Result<PullStream>;

    async fn remove(&self, name: &ModelName) -> Result<()>;
}

/// Must be called within a tokio runtime.
pub(super) fn open(config: &Config) -> Result<Box<dyn Models>> {
    Ok(match RunningServer::find(config)? {
        Some(server) => Box::new(server),
        None => Box::new(WithoutServer::open(config)?),
    })
}

#[async_trait]
impl Models for RunningServer {
    fn heading(&self) -> String {
        format!("Models of the server on {}:", self.address())
    }

    async fn list(&self) -> Result<Value> {
        self.get("/models").await
    }

    async fn show(&self, name: &ModelName) -> Result<Value> {
        self.get(&path_of(name, "")).await
    }

    async fn pull(&self, name: &ModelName) -> Result<PullStream> {
        let events = self.events("/models/pull", &json!({ "model": name.to_string() })).await?;
        Ok(Box::pin(events.map(|event| Ok(step(&event?)))))
    }

    async fn remove(&self, name: &ModelName) -> Result<()> {
        self.delete(&path_of(name, "")).await.map(drop)
    }
}

/// Step of a download as the API describes it.
fn step(event: &Value) -> Progress {
    let number = |name: &str| event[name].as_u64();
    let file = event["digest"].as_str().zip(number("total")).map(|(digest, total)| FileProgress {
        digest: digest.to_owned(),
        total,
        completed: number("completed").unwrap_or(0),
        resumed: number("resumed").unwrap_or(0),
    });
    Progress { status: event["status"].as_str().unwrap_or_default().to_owned(), file }
}

/// The backend of the settings, in this process.
pub(super) struct WithoutServer {
    backend: Arc<dyn Backend>,
    place: Place,
}

enum Place {
    Disk {
        store: ModelStore,
        /// For the sockets of an engine that only estimates memory. The usual folder may belong to a server.
        _engine: TempDir,
    },
    Ollama(String),
}

impl WithoutServer {
    /// Must be called within a tokio runtime.
    pub(super) fn open(config: &Config) -> Result<Self> {
        if let Some(url) = &config.ollama.ollama_base_url {
            let backend =
                Arc::new(Ollama::new(url, config.ollama.ollama_api_key.as_ref(), (&config.client).into())?);
            return Ok(Self { backend, place: Place::Ollama(without_password(url)) });
        }
        let store = ModelStore::configured(&config.model_store, &config.server.data_dir)?;
        let puller = Puller::new(store.clone(), &config.pull, Pace::default())?;
        let folder = tempfile::tempdir().map_err(|source| {
            Error::new(Kind::Setup, "No temporary directory can be created; check TMPDIR.")
                .with_source(source)
        })?;
        let engine = Engine::new(config.engine.clone(), folder.path(), store.clone())?;
        let backend = Arc::new(Embedded::new(store.clone(), puller, Arc::new(engine)));
        Ok(Self { backend, place: Place::Disk { store, _engine: folder } })
    }

    pub(super) async fn copy(&self, source: &ModelName, name: &ModelName) -> Result<()> {
        self.manager()?.copy(&source.to_string(), name).await
    }

    fn manager(&self) -> Result<&dyn ModelManager> {
        self.backend
            .manager()
            .ok_or_else(|| Error::new(Kind::Setup, "The models of this backend cannot be managed."))
    }

    fn install_demo(&self) -> Result<()> {
        match &self.place {
            Place::Disk { store, .. } => store.install_demo().map(drop),
            Place::Ollama(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Models for WithoutServer {
    fn heading(&self) -> String {
        match &self.place {
            Place::Disk { store, .. } => {
                let folder = |path: PathBuf| match path.is_dir() {
                    true => path.display().to_string(),
                    false => format!("{} (does not exist)", path.display()),
                };
                let folders: Vec<String> = store.folders().map(|path| folder(path.to_owned())).collect();
                format!("In {}:", folders.join(" and "))
            }
            Place::Ollama(url) => format!("Models on the Ollama server at {url}:"),
        }
    }

    async fn list(&self) -> Result<Value> {
        self.install_demo()?;
        json(ModelsReply::from(&*self.backend.models().await?))
    }

    async fn show(&self, name: &ModelName) -> Result<Value> {
        self.install_demo()?;
        json(DetailedModelReply::from(self.manager()?.details(&name.to_string()).await?))
    }

    async fn pull(&self, name: &ModelName) -> Result<PullStream> {
        self.manager()?.pull(name).await
    }

    async fn remove(&self, name: &ModelName) -> Result<()> {
        self.manager()?.remove(&name.to_string()).await.map(drop)
    }
}

fn json(reply: impl Serialize) -> Result<Value> {
    serde_json::to_value(reply).map_err(|source| {
        Error::new(Kind::Internal, "The models cannot be written as JSON.").with_source(source)
    })
}

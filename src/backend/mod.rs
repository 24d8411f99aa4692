//! Backends: one small trait, one file for each kind of server. Every backend streams; a plain
//! reply is a collected stream. A backend knows its vendor's JSON and nothing of HTTP as we serve it.

pub mod embedded;
pub mod ollama;
mod openai;
mod place;
mod plain_text;
mod replies;

pub use self::{embedded::Embedded, replies::frames};
pub use crate::model_store::pull::{FileProgress, Progress};

use std::{path::Path, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    engine::{self, Engine, MemoryBudget},
    error::{Error, Kind, Result},
    http_client,
    model_store::{
        self, ModelStore,
        pull::{self, Pace, Puller},
    },
    types::{
        Capability, ChatEvent, ChatRequest, CreateModel, Done, EmbedReply, EmbedRequest, LoadOptions,
        LoadedModel, Model, ModelDetails, ModelName,
    },
};

/// Bytes from which on it takes milliseconds to write them as JSON, or to read them from it.
const LARGE_BYTES: usize = 256 * 1024;

/// The events of one reply as they arrive, ending with `ChatEvent::Done` or with an error. Dropping
/// it aborts the work behind it and frees what it holds.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>;

/// Steps of a download; it has succeeded when the stream ends without an error. Dropping it stops the download, unless
/// another caller waits for it.
pub type PullStream = Pin<Box<dyn Stream<Item = Result<Progress>> + Send>>;

/// A file as it is uploaded.
pub type FileStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Facts about a kind of backend.
pub struct Profile {
    /// `embedded`, `ollama` …, fit for a metric's label.
    pub name: &'static str,
    /// Its name in sentences.
    pub title: &'static str,
    /// Advice for when it does not respond; empty when its errors say so.
    pub remedy: &'static str,
    /// Model for a task that no setting names a model for, unless the best installed one is used.
    pub default_model: fn(Capability) -> Option<&'static str>,
    /// Command that installs a model.
    pub install: fn(&str) -> String,
    /// How to get images seen where this model cannot, as the rest of a sentence.
    pub vision_remedy: fn(&str) -> String,
}

/// Numbers of tokens in texts.
#[derive(Clone, Debug)]
pub struct TokenCounts {
    /// Of each text, without those that the model adds to every one.
    pub counts: Vec<usize>,
    /// Maximum that a text may have.
    pub room: usize,
}

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    fn profile(&self) -> &'static Profile;

    fn name(&self) -> &'static str {
        self.profile().name
    }

    /// Starts a reply. Returns when the backend has accepted the request.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream>;

    /// Embeds all texts in one call.
    async fn embed(&self, request: EmbedRequest) -> Result<EmbedReply>;

    /// Counts the tokens of texts as the model reads them.
    ///
    /// # Errors
    /// `Unsupported` when the backend cannot count tokens.
    async fn count_tokens(&self, _model: &str, _texts: Vec<String>) -> Result<TokenCounts> {
        let title = self.profile().title;
        Err(Error::new(Kind::Unsupported, format!("{title} does not count tokens.")))
    }

    /// Counts the tokens of a prompt, with the model's chat template and its tools.
    ///
    /// # Errors
    /// `Unsupported` when the backend cannot count them.
    async fn count_prompt(&self, _request: ChatRequest) -> Result<u64> {
        let title = self.profile().title;
        Err(Error::new(Kind::Unsupported, format!("{title} does not count the tokens of a prompt.")))
    }

    /// Returns the text that token ids of a model stand for.
    ///
    /// # Errors
    /// `Unsupported` when the backend cannot convert token ids.
    async fn text_of(&self, _model: &str, _tokens: &[u32]) -> Result<String> {
        let detail = "must be a text: the backend cannot read token ids";
        Err(Error::field("/input", detail).of_kind(Kind::Unsupported))
    }

    /// Loads a model, or lets go of it when it is to be kept for no time.
    async fn load(&self, model: &str, options: LoadOptions) -> Result<Done>;

    /// List models.
    async fn models(&self) -> Result<Vec<Model>>;

    /// Whether it answers; gives its version.
    async fn version(&self) -> Result<String>;

    /// Management of its models, for a backend that allows it.
    fn manager(&self) -> Option<&dyn ModelManager> {
        None
    }

    /// How the engine stands, for a backend that has one.
    fn engine(&self) -> Option<engine::Snapshot> {
        None
    }

    /// Memory for its models, for a backend that has an engine.
    fn memory_budget(&self) -> Option<MemoryBudget> {
        None
    }

    /// Ends what it runs (children, connections). Nothing is left running when this returns.
    async fn stop(&self) {}
}

/// Management of a backend's models.
#[async_trait]
pub trait ModelManager: Send + Sync {
    /// # Errors
    /// `NotFound` when it is not installed.
    async fn details(&self, model: &str) -> Result<ModelDetails>;

    /// Lists the models in memory, by name.
    async fn loaded(&self) -> Result<Vec<LoadedModel>>;

    /// Begins to download a model, or joins a download of it that is running.
    ///
    /// # Errors
    /// `BadGateway` and the like when the download cannot begin; those of the download itself come in its stream.
    async fn pull(&self, name: &ModelName) -> Result<PullStream>;

    /// Gives a model another name, too, with the same files.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    async fn copy(&self, model: &str, name: &ModelName) -> Result<()>;

    /// Makes a model. One that has the name is replaced.
    ///
    /// # Errors
    /// `NotFound` when what it is made from is not there, `Invalid` when no model can be made from it.
    async fn create(&self, create: CreateModel) -> Result<()>;

    /// Whether a file is there of which a model can be made.
    ///
    /// # Errors
    /// `Invalid` for what is no digest, `Unsupported` when the backend takes no files.
    async fn has_blob(&self, digest: &str) -> Result<bool>;

    /// Takes a file to make models of.
    ///
    /// # Errors
    /// As `has_blob`, those of the stream, and `Invalid` when the file has another digest.
    async fn add_blob(&self, digest: &str, file: FileStream) -> Result<()>;

    /// Removes a model and returns its own name; requests that use it are finished first.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    async fn remove(&self, model: &str) -> Result<String>;
}

/// Settings that the backends are built from.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub ollama: &'a ollama::Settings,
    pub engine: &'a engine::Settings,
    pub model_store: &'a model_store::Settings,
    pub pull: &'a pull::Settings,
    pub client: &'a http_client::Settings,
}

/// The backend that the settings ask for: Ollama when it has an address, else the embedded engine.
/// Must be called within a tokio runtime.
///
/// # Errors
/// `Kind::Setup` with what to do.
pub fn build(settings: Settings<'_>, data_dir: &Path) -> Result<Arc<dyn Backend>> {
    if let Some(url) = &settings.ollama.ollama_base_url {
        let key = settings.ollama.ollama_api_key.as_ref();
        return Ok(Arc::new(ollama::Ollama::new(url, key, settings.client.into())?));
    }
    let model_store = ModelStore::configured(settings.model_store, data_dir)?;
    if let Err(error) = model_store.install_demo() {
        // On a full disk the others still serve.
        tracing::warn!("The demo model is not available: {}", error.chain());
    }
    let puller = Puller::new(model_store.clone(), settings.pull, Pace::default())?;
    let engine = Engine::new(settings.engine.clone(), data_dir, model_store.clone())?;
    Ok(Arc::new(Embedded::new(model_store, puller, Arc::new(engine))))
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|source| {
        Error::new(Kind::Internal, "The request could not be serialized.").with_source(source)
    })
}

/// Does what is `heavy` where it holds nobody up, and the rest at once: the way to another thread and
/// back would take longer.
async fn work<T: Send + 'static>(
    heavy: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if !heavy {
        return work();
    }
    spawn_blocking(work).await.map_err(|source| {
        Error::new(Kind::Internal, "Preparing the request for the backend failed.").with_source(source)
    })?
}

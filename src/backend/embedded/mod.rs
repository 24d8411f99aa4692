//! The models on this machine's disk, run by the embedded engine. It joins the library (what is
//! installed) with the engine (what runs), and speaks to the engine's children.

mod again;
mod check;
mod embed;
mod exchange;
mod length;
mod models;
mod tokens;

use std::{collections::HashSet, sync::Arc, time::Instant};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use self::length::Room;
use super::{Backend, ChatStream, ModelManager, Profile, TokenCounts, openai, place::Place};
use crate::{
    cache,
    engine::{Engine, Lease, MemoryBudget, Role, Snapshot},
    error::{Error, Kind, Result},
    http_client::Client,
    model_store::{Entry, ModelStore, pull::Puller},
    types::{
        ChatRequest, Context, Done, EmbedReply, EmbedRequest, FinishReason, KeepAlive, LoadOptions, Model,
        ModelName, Timings,
    },
    wire::llama::{DetokenizeBody, DetokenizeReply},
};

pub static PROFILE: Profile = Profile {
    name: "embedded",
    title: "The engine",
    remedy: "",
    default_model: |_| None,
    install: |model| format!("`simpleton model pull {model}`"),
    vision_remedy: |model| {
        format!(
            ": it has no vision projector, which `simpleton model import {model} MODEL.gguf --projector MMPROJ.gguf` adds"
        )
    },
};

/// A slot of the child that is asked, and its model.
struct Child {
    lease: Arc<Lease>,
    entry: Arc<Entry>,
}

impl Child {
    fn client(&self) -> &Client {
        self.lease.client()
    }

    fn place<'a>(&self, pointer: &'a str) -> Place<'a> {
        let chosen = Some(self.lease.context().into());
        let context = Context { chosen, trained: Some(self.entry.architecture.context_length) };
        Place { pointer, context, ..Place::default() }
    }
}

pub struct Embedded {
    model_store: ModelStore,
    puller: Puller,
    engine: Arc<Engine>,
}

impl Embedded {
    pub fn new(model_store: ModelStore, puller: Puller, engine: Arc<Engine>) -> Self {
        Self { model_store, puller, engine }
    }

    /// A few system calls when the model is known, since the library remembers what it has read.
    async fn entry(&self, model: &str) -> Result<Arc<Entry>> {
        let name: ModelName = model.parse().map_err(|_| unknown(model, &[]))?;
        let sought = name.clone();
        let found = self.on_disk(move |model_store| model_store.find(&sought)).await?;
        match found {
            Some(entry) => Ok(entry),
            None => Err(unknown(model, &self.on_disk(ModelStore::list).await.unwrap_or_default())),
        }
    }

    /// Digests of the weights in memory.
    fn loaded_digests(&self) -> HashSet<String> {
        self.engine.loaded().into_iter().map(|model| model.digest).collect()
    }

    fn model(&self, entry: &Entry, loaded: &HashSet<String>) -> Model {
        Model {
            loaded: loaded.contains(&entry.weights_digest),
            context: Context { chosen: Some(self.engine.context(entry).into()), ..entry.model.context },
            ..entry.model.clone()
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ModelStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let model_store = self.model_store.clone();
        spawn_blocking(move || work(&model_store)).await.map_err(|source| {
            Error::new(Kind::Internal, "Reading the list of models failed.").with_source(source)
        })?
    }
}

/// Similarity from which an installed model is suggested, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;

const SHOWN: &str = "`simpleton model list` or GET /models shows the installed models";

fn unknown(model: &str, installed: &[Arc<Entry>]) -> Error {
    let likeness = |name: &str| strsim::jaro_winkler(name, model);
    let nearest = installed
        .iter()
        .map(|entry| entry.model.name.as_str())
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let remedy = match nearest.filter(|name| likeness(name) >= MIN_SIMILARITY && *name != model) {
        Some(nearest) => format!("; did you mean {nearest}? {SHOWN}"),
        None => format!(". {SHOWN}, and `simpleton model pull` downloads others"),
    };
    let message = format!("The model {model} is not installed{remedy}.");
    Error::new(Kind::NotFound, message)
}

#[async_trait]
impl Backend for Embedded {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream> {
        let since = Instant::now();
        let entry = self.entry(&request.model).await?;
        check::chat(&request, &entry)?;
        let room = Room::new(&entry, self.engine.context(&entry));
        room.check_chat(&request)?;
        let fingerprint = cache::fingerprint(&request);
        self.engine.check(&fingerprint)?;
        let lease = self.engine.acquire(Arc::clone(&entry), Role::Chat, request.keep_alive).await?;
        let request = Arc::new(request);
        again::stream(lease, fingerprint, move |lease| {
            let (request, entry) = (Arc::clone(&request), Arc::clone(&entry));
            async move {
                let child = Child { lease, entry };
                room.count_chat(&request, &child).await?;
                exchange::begin(ChatRequest::clone(&request), child, since).await
            }
        })
        .await
    }

    async fn embed(&self, request: EmbedRequest) -> Result<EmbedReply> {
        let since = Instant::now();
        check::embed(&request)?;
        let entry = self.entry(&request.model).await?;
        Room::new(&entry, self.engine.context(&entry)).check_embed(&request)?;
        let fingerprint = cache::embed_fingerprint(&request);
        self.engine.check(&fingerprint)?;
        let lease = self.engine.acquire(Arc::clone(&entry), Role::Embed, request.keep_alive).await?;
        let ask = |lease| embed::ask(request.clone(), Child { lease, entry: Arc::clone(&entry) });
        let (mut reply, lease) = again::once(lease, fingerprint, ask).await?;
        lease.finished();
        (reply.timings.queue, reply.timings.load) = (Some(lease.waited()), lease.load());
        reply.timings.total = since.elapsed();
        Ok(reply)
    }

    async fn count_tokens(&self, model: &str, texts: Vec<String>) -> Result<TokenCounts> {
        let entry = self.entry(model).await?;
        let lease = self.engine.acquire(Arc::clone(&entry), Role::Embed, None).await?;
        let child = Child { lease: Arc::new(lease), entry };
        let counted = tokens::count(texts, &child).await?;
        child.lease.finished();
        Ok(counted)
    }

    async fn count_prompt(&self, request: ChatRequest) -> Result<u64> {
        let entry = self.entry(&request.model).await?;
        check::chat(&request, &entry)?;
        check::count(&request)?;
        let room = Room::new(&entry, self.engine.context(&entry));
        room.check_chat(&request)?;
        let lease = self.engine.acquire(Arc::clone(&entry), Role::Chat, request.keep_alive).await?;
        let child = Child { lease: Arc::new(lease), entry };
        room.count_chat(&request, &child).await?;
        let counted = tokens::count_prompt(request, &child).await?;
        child.lease.finished();
        Ok(counted)
    }

    async fn text_of(&self, model: &str, tokens: &[u32]) -> Result<String> {
        let entry = self.entry(model).await?;
        let context = self.engine.context(&entry) as usize;
        if tokens.len() > context {
            let detail = format!("has {} tokens, and {model} reads at most {context}", tokens.len());
            return Err(Error::field("/input", detail));
        }
        check::tokens(tokens.iter().copied(), "/input", &entry)?;
        let role = if entry.architecture.embedding_only { Role::Embed } else { Role::Chat };
        let lease = Arc::new(self.engine.acquire(Arc::clone(&entry), role, None).await?);
        let child = Child { lease: Arc::clone(&lease), entry };
        let place = child.place("/input");
        let reply: DetokenizeReply =
            openai::ask(child.client(), "/detokenize", &DetokenizeBody { tokens }, place).await?;
        lease.finished();
        Ok(reply.content)
    }

    async fn load(&self, model: &str, options: LoadOptions) -> Result<Done> {
        let LoadOptions { keep_alive, context } = options;
        let since = Instant::now();
        let entry = self.entry(model).await?;
        if keep_alive == Some(KeepAlive::NONE) {
            self.engine.unload(&entry);
            let timings = Timings { total: since.elapsed(), ..Timings::default() };
            return Ok(Done { reason: FinishReason::Unload, timings, ..Done::default() });
        }
        if let Some(context) = context {
            check::context(context, &entry)?;
        }
        let role = if entry.architecture.embedding_only { Role::Embed } else { Role::Chat };
        let lease = self.engine.load(entry, role, options).await?;
        let (queue, load) = (Some(lease.waited()), lease.load());
        let timings = Timings { total: since.elapsed(), queue, load, ..Timings::default() };
        Ok(Done { reason: FinishReason::Load, timings, ..Done::default() })
    }

    async fn models(&self) -> Result<Vec<Model>> {
        let loaded = self.loaded_digests();
        let entries = self.on_disk(ModelStore::list).await?;
        Ok(entries.iter().map(|entry| self.model(entry, &loaded)).collect())
    }

    fn manager(&self) -> Option<&dyn ModelManager> {
        Some(self)
    }

    async fn version(&self) -> Result<String> {
        Ok(self.engine.locate().await?.version)
    }

    fn engine(&self) -> Option<Snapshot> {
        Some(self.engine.snapshot())
    }

    fn memory_budget(&self) -> Option<MemoryBudget> {
        Some(self.engine.memory_budget())
    }

    async fn stop(&self) {
        self.engine.stop().await;
    }
}

//! Documents: ingestion, search, and answers.

mod answer;
mod embedder;
mod ingest;
mod reindex;
mod search;
mod store;
mod tokens;

use std::{sync::Arc, time::Duration};

use clap::Args;

pub use self::{
    answer::Answer,
    ingest::{Ingest, Ingested, Source, Step},
    reindex::Moved,
    search::{Mode, SearchDocuments},
};
use self::{reindex::Moves, store::Store};
use super::App;
use crate::{
    error::{Error, Result},
    telemetry::metrics::Metrics,
    text::chunk::ChunkSize,
    value_parser::{whole, word},
    vectors::{Collection, CollectionName, Document, DocumentId, Stats, VectorStore},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Documents")]
#[group(skip)]
pub struct Settings {
    /// Collection for requests that do not name one
    #[arg(long, env = "DEFAULT_COLLECTION", default_value = "documents", value_name = "NAME", value_parser = collection)]
    pub default_collection: CollectionName,
    /// Unit of CHUNK_SIZE and CHUNK_OVERLAP: characters, or tokens of the embedding model (tokens are not available with Ollama)
    #[arg(long, env = "CHUNK_UNIT", default_value = "characters", value_parser = word(ChunkUnit::WORDS))]
    pub chunk_unit: ChunkUnit,
    /// Maximum size of a chunk of a document. Chunks that are too long for the embedding model are divided
    #[arg(long, env = "CHUNK_SIZE", default_value = "1000", value_name = "N", value_parser = whole(1..=MAX_CHUNK_SIZE))]
    pub chunk_size: u32,
    /// Maximum overlap of a chunk with the one before it. Must be less than CHUNK_SIZE
    #[arg(long, env = "CHUNK_OVERLAP", default_value = "200", value_name = "N", value_parser = whole(0..=MAX_CHUNK_SIZE - 1))]
    pub chunk_overlap: u32,
    /// Maximum number of chunks that a search returns, or that an answer is based on
    #[arg(long, env = "TOP_K_RESULTS", default_value = "5", value_name = "N", value_parser = whole(1..=1000_u32))]
    pub top_k_results: u32,
}

/// Unit in which chunks are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkUnit {
    Characters,
    /// Of the collection's embedding model.
    Tokens,
}

impl ChunkUnit {
    const WORDS: &'static [(&'static str, Self)] =
        &[("characters", Self::Characters), ("tokens", Self::Tokens)];
}

/// More than any embedding model reads.
pub const MAX_CHUNK_SIZE: u32 = 100_000;

fn collection(name: &str) -> Result<CollectionName, String> {
    CollectionName::new(name).map_err(|error| error.field_errors()[0].detail.clone())
}

impl Settings {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// `Setup` when the overlap is not less than the size.
    pub fn check(&self) -> Result<()> {
        if self.chunk_overlap < self.chunk_size {
            return Ok(());
        }
        let (overlap, size) = (self.chunk_overlap, self.chunk_size);
        let message =
            format!("CHUNK_OVERLAP is {overlap}, but must be less than CHUNK_SIZE, which is {size}.");
        Err(Error::new(crate::error::Kind::Setup, message))
    }
}

/// The document store, and the defaults for requests.
pub struct Documents {
    store: Store,
    settings: Settings,
    moves: Moves,
}

impl Documents {
    pub fn new(store: Arc<dyn VectorStore>, settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { store: Store::new(store, metrics), settings, moves: Moves::default() }
    }

    /// Name of the store.
    pub(super) fn store_name(&self) -> &'static str {
        self.store.name()
    }

    /// Returns why the store cannot be used now; `None` if it can.
    pub(super) async fn trouble(&self, patience: Duration) -> Option<String> {
        self.store.trouble(patience).await
    }

    /// Number and size of what is stored, if that is known within `patience`.
    pub(super) async fn counts(&self, patience: Duration) -> Option<Stats> {
        self.store.counts(patience).await
    }

    pub(super) async fn stop(&self) {
        self.store.stop().await;
    }
}

impl App {
    pub fn default_collection(&self) -> &CollectionName {
        &self.documents.settings.default_collection
    }

    pub fn default_top_k(&self) -> usize {
        self.documents.settings.top_k_results as usize
    }

    pub fn default_chunk_unit(&self) -> ChunkUnit {
        self.documents.settings.chunk_unit
    }

    /// Size of chunks where a request gives one, both or none of its numbers.
    ///
    /// # Errors
    /// `Invalid` when a number is out of its range, or the overlap is not less than the size.
    pub fn chunk_size(&self, size: Option<i64>, overlap: Option<i64>) -> Result<ChunkSize> {
        let Settings { chunk_size, chunk_overlap, .. } = self.documents.settings;
        let chosen = size.unwrap_or_else(|| chunk_size.into());
        if !(1..=i64::from(MAX_CHUNK_SIZE)).contains(&chosen) {
            return Err(Error::field("/chunk_size", format!("must be between 1 and {MAX_CHUNK_SIZE}")));
        }
        // CHUNK_OVERLAP is meant for CHUNK_SIZE.
        let repeated = overlap.unwrap_or_else(|| i64::from(chunk_overlap).min(chosen / 5));
        if !(0..chosen).contains(&repeated) {
            let detail = format!("must be between 0 and {}, less than chunk_size", chosen - 1);
            return Err(Error::field("/chunk_overlap", detail));
        }
        let number = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(ChunkSize { size: number(chosen), overlap: number(repeated) })
    }

    /// # Errors
    /// That of the store, as for all methods below.
    pub async fn collections(&self) -> Result<Vec<Collection>> {
        self.documents.store.collections().await
    }

    pub async fn collection(&self, name: &CollectionName) -> Result<Collection> {
        self.documents.store.collection(name).await
    }

    pub async fn delete_collection(&self, name: &CollectionName) -> Result<()> {
        self.documents.store.delete_collection(name).await
    }

    /// Lists at most `limit` documents of a collection, those after `after`.
    pub async fn documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        self.documents.store.documents(collection, after, limit).await
    }

    pub async fn document(&self, id: &DocumentId) -> Result<Document> {
        self.documents.store.document(id).await
    }

    /// Returns the whole text of a document.
    pub async fn document_content(&self, id: &DocumentId) -> Result<String> {
        self.documents.store.content(id).await
    }

    pub async fn delete_document(&self, id: &DocumentId) -> Result<()> {
        self.documents.store.delete_document(id).await
    }
}

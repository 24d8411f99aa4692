//! Store in a Qdrant server, for collections that outgrow one machine. See docs/adr/0030.
//!
//! - `client.rs`: requests; `failure.rs`: what can go wrong with them; `url.rs`: which server is meant
//! - `catalog.rs`: collections, documents and texts; `chunks.rs`: vectors and what hits show; `versions.rs`: how a
//!   document is replaced at once
//! - `facts.rs`, `words.rs`: what filters and words are compared with
//! - `put.rs`, `search.rs`, `documents.rs`, `reindex.rs`: the operations

mod catalog;
mod chunks;
mod client;
mod documents;
mod facts;
mod failure;
mod points;
mod put;
mod reindex;
mod search;
mod url;
mod versions;
mod words;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};

pub use self::url::qdrant_url;
use self::{
    catalog::State,
    client::Client,
    failure::{Failure, Outcome},
};
use super::{
    Chunk, Collection, CollectionName, Document, DocumentId, Embedding, Found, NewDocument, Previous, Query,
    Reindex, Stats, Stored, VectorStore, no_collection,
};
use crate::{
    error::{Error, Kind, Result},
    types::Secret,
};

/// Beginning of the names of our collections in Qdrant.
const PREFIX: &str = "simpleton-";
/// Reads of one state that are tried while writes go on beside them; later ones wait for the writes of this server.
const FREE_ATTEMPTS: usize = 3;
/// Reads that are tried at all.
const ATTEMPTS: usize = 10;

/// One server at a time may write: it holds the only lock. Any number may read beside it.
pub struct Qdrant {
    client: Client,
    writing: Mutex<Writing>,
    /// Whether a request has failed, so that nothing is known of what it left.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct Writing {
    /// Whether the catalog is there, and nothing belongs to no collection. False while that may change, so that a
    /// write that is dropped in the middle is known of.
    is_prepared: bool,
    /// Ids of collections in which all writes were completed.
    clean: HashSet<String>,
}

impl Qdrant {
    /// Connects when it is first needed: Qdrant may be absent and come later.
    ///
    /// # Errors
    /// `Setup` when the URL or the key cannot be used.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self> {
        Self::with_prefix(url, key, PREFIX)
    }

    /// The same with collections whose names in Qdrant have another beginning.
    ///
    /// # Errors
    /// `Setup`
    pub fn with_prefix(url: &str, key: Option<&Secret>, prefix: &str) -> Result<Self> {
        let client = Client::new(url, key, prefix)?;
        Ok(Self { client, writing: Mutex::default(), has_failed: AtomicBool::new(false) })
    }

    /// Asks Qdrant for its collections, which takes the right key, and returns its URL.
    ///
    /// # Errors
    /// `Setup` when Qdrant cannot be used, with what to do.
    pub async fn check(url: &str, key: Option<&Secret>) -> Result<String> {
        let client = Client::new(url, key, PREFIX)?;
        match client.names().await {
            Ok(_) => Ok(url.to_owned()),
            Err(failure) => Err(failure.into_setup_error(url)),
        }
    }

    /// Waits for the write before.
    async fn begin_write(&self) -> Outcome<MutexGuard<'_, Writing>> {
        let mut writing = self.writing.lock().await;
        if self.has_failed.swap(false, Ordering::AcqRel) {
            *writing = Writing::default();
        }
        if !writing.is_prepared {
            catalog::prepare(&self.client).await?;
            writing.is_prepared = true;
        }
        Ok(writing)
    }

    /// Removes what an interrupted write has left in a collection. Until `is_clean`, this one may be interrupted, too.
    async fn clean(&self, writing: &mut Writing, state: &State) -> Outcome<()> {
        if !writing.clean.remove(&state.id) {
            versions::recover(&self.client, state).await?;
        }
        Ok(())
    }

    fn is_clean(&self, writing: &mut Writing, state: &State) {
        if !self.has_failed.load(Ordering::Acquire) {
            writing.clean.insert(state.id.clone());
        }
    }

    /// Removes what a commit has replaced.
    async fn remove_dead(&self, writing: &mut Writing, state: &State, has_replaced: bool) {
        if has_replaced {
            self.tidy_up(versions::remove_dead(&self.client, state)).await;
        }
        self.is_clean(writing, state);
    }

    /// Removes what nothing refers to any more. A failure is made good by the next write.
    async fn tidy_up(&self, removal: impl Future<Output = Outcome<()>>) {
        if let Err(failure) = removal.await {
            self.has_failed.store(true, Ordering::Release);
            let error = failure.into_error();
            tracing::warn!(error = error.chain(), "old versions stay in Qdrant until the next write");
        }
    }

    /// Reads a collection in one state: what was read while another one was committed is read again.
    async fn consistently<T, F>(&self, name: &CollectionName, read: impl Fn(State) -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        for attempt in 0..ATTEMPTS {
            let _still = if attempt < FREE_ATTEMPTS { None } else { Some(self.writing.lock().await) };
            let before = catalog::state(&self.client, name).await?.ok_or_else(|| no_collection(name))?;
            let found = read(before.clone()).await;
            if catalog::state(&self.client, name).await?.is_some_and(|after| after.is_same(&before)) {
                return found;
            }
        }
        let message = format!("The collection \"{name}\" changes all the time. Try again.");
        Err(Error::new(Kind::Unavailable, message).into())
    }

    /// An error for the caller.
    fn told<T>(&self, outcome: Outcome<T>) -> Result<T> {
        outcome.map_err(|failure| {
            if matches!(failure, Failure::Qdrant(..)) {
                self.has_failed.store(true, Ordering::Release);
            }
            failure.into_error()
        })
    }
}

#[async_trait]
impl VectorStore for Qdrant {
    fn name(&self) -> &'static str {
        "qdrant"
    }

    async fn put(
        &self,
        collection: &CollectionName,
        embedding: &Embedding,
        document: NewDocument,
    ) -> Result<Stored> {
        self.told(put::put(self, collection, embedding, document).await)
    }

    async fn previous(
        &self,
        collection: &CollectionName,
        id: Option<&DocumentId>,
        content: &str,
    ) -> Result<Option<Previous>> {
        self.told(put::previous(self, collection, id, content).await)
    }

    async fn search(&self, collection: &CollectionName, query: Query) -> Result<Found> {
        self.told(search::search(self, collection, query).await)
    }

    async fn collections(&self) -> Result<Vec<Collection>> {
        self.told(documents::collections(self).await)
    }

    async fn collection(&self, name: &CollectionName) -> Result<Collection> {
        self.told(documents::collection(self, name).await)
    }

    async fn delete_collection(&self, name: &CollectionName) -> Result<()> {
        self.told(documents::delete_collection(self, name).await)
    }

    async fn documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        self.told(documents::documents(self, collection, after, limit).await)
    }

    async fn document(&self, id: &DocumentId) -> Result<Document> {
        self.told(documents::document(self, id).await)
    }

    async fn content(&self, id: &DocumentId) -> Result<String> {
        self.told(documents::content(self, id).await)
    }

    async fn chunks(&self, id: &DocumentId) -> Result<Vec<Chunk>> {
        self.told(documents::chunks(self, id).await)
    }

    async fn delete_document(&self, id: &DocumentId) -> Result<()> {
        self.told(documents::delete_document(self, id).await)
    }

    async fn begin_reindex(&self, collection: &CollectionName, embedding: &Embedding) -> Result<Reindex> {
        self.told(reindex::begin_or_continue(self, collection, embedding).await)
    }

    async fn pending(&self, reindex: &Reindex, limit: usize) -> Result<Vec<Document>> {
        self.told(reindex::pending(self, reindex, limit).await)
    }

    async fn put_reindexed(
        &self,
        reindex: &Reindex,
        id: &DocumentId,
        content_hash: &str,
        chunks: Vec<Chunk>,
    ) -> Result<bool> {
        self.told(reindex::put(self, reindex, id, content_hash, chunks).await)
    }

    async fn finish_reindex(&self, reindex: &Reindex) -> Result<u64> {
        self.told(reindex::finish(self, reindex).await)
    }

    async fn abandon_reindex(&self, reindex: &Reindex) -> Result<()> {
        self.told(reindex::abandon(self, reindex).await)
    }

    async fn check(&self) -> Result<()> {
        self.told(self.client.names().await.map(drop))
    }

    async fn stats(&self) -> Result<Stats> {
        self.told(documents::stats(self).await)
    }

    /// Waits for the write that is under way.
    async fn stop(&self) {
        drop(self.writing.lock().await);
    }
}

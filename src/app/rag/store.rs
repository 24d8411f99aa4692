//! The document store as the rest of `app` sees it: its failures are counted, its searches timed, and its size known
//! without counting for each scrape.

use std::{
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    app::health::log_change,
    error::{Error, Kind, Result},
    telemetry::metrics::{Metrics, StoreOperation},
    vectors::{
        Chunk, Collection, CollectionName, Document, DocumentId, Embedding, Found, NewDocument, Previous,
        Query, Reindex, Stats, Stored, VectorStore,
    },
};

/// Age at which counts are refreshed even if nothing was written here: another server may have written.
const COUNTS_AGE: Duration = Duration::from_secs(60);
/// Time after its last answer during which a slow store counts as busy, not as down.
const BUSY: Duration = Duration::from_secs(10);

pub(super) struct Store {
    store: Arc<dyn VectorStore>,
    metrics: Arc<Metrics>,
    /// Number of writes.
    writes: AtomicU64,
    /// Locked while counting.
    counts: Mutex<Option<Counts>>,
    state: StdMutex<State>,
}

struct Counts {
    stats: Stats,
    at: Instant,
    /// Number of writes before.
    writes: u64,
}

#[derive(Default)]
struct State {
    answered: Option<Instant>,
    is_down: bool,
}

impl Store {
    pub(super) fn new(store: Arc<dyn VectorStore>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            metrics,
            writes: AtomicU64::new(0),
            counts: Mutex::default(),
            state: StdMutex::default(),
        }
    }

    /// Why the store cannot be used now; None when it can. It is down only when it says so, or has not answered
    /// anything for a while. Each change is logged.
    pub(super) async fn trouble(&self, patience: Duration) -> Option<String> {
        let checked = timeout(patience, self.check()).await;
        let is_busy = |at: Instant| at.elapsed() < BUSY;
        let error = match checked {
            Ok(outcome) => outcome.err(),
            Err(_) if self.state().answered.is_some_and(is_busy) => None,
            Err(_) => Some(Error::new(Kind::Unavailable, "The document store does not respond.")),
        };
        let was_down = std::mem::replace(&mut self.state().is_down, error.is_some());
        log_change("documents", was_down, error.as_ref());
        error.map(|error| error.message().to_owned())
    }

    /// Number and size of what is stored, if that is known within `patience`.
    pub(super) async fn counts(&self, patience: Duration) -> Option<Stats> {
        let counted = async {
            let mut counts = self.counts.lock().await;
            let writes = self.writes.load(Ordering::Acquire);
            if let Some(known) = &*counts
                && known.writes == writes
                && known.at.elapsed() < COUNTS_AGE
            {
                return Some(known.stats);
            }
            let stats = self.stats().await.ok();
            *counts = stats.map(|stats| Counts { stats, at: Instant::now(), writes });
            stats
        };
        timeout(patience, counted).await.ok().flatten()
    }

    async fn noted<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let outcome = call.await;
        match &outcome {
            // Other errors are the caller's or the model's, not the store's.
            Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal) => {
                self.metrics.documents.store_failed(operation);
            }
            _ => self.state().answered = Some(Instant::now()),
        }
        outcome
    }

    async fn write<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let outcome = self.noted(operation, call).await;
        self.writes.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl VectorStore for Store {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn put(
        &self,
        collection: &CollectionName,
        embedding: &Embedding,
        document: NewDocument,
    ) -> Result<Stored> {
        self.write(StoreOperation::Put, self.store.put(collection, embedding, document)).await
    }

    async fn previous(
        &self,
        collection: &CollectionName,
        id: Option<&DocumentId>,
        content: &str,
    ) -> Result<Option<Previous>> {
        self.noted(StoreOperation::Read, self.store.previous(collection, id, content)).await
    }

    async fn search(&self, collection: &CollectionName, query: Query) -> Result<Found> {
        let begun = Instant::now();
        let found = self.noted(StoreOperation::Search, self.store.search(collection, query)).await;
        if let Ok(Found::Hits(_)) = found {
            self.metrics.documents.searched(begun.elapsed());
        }
        found
    }

    async fn collections(&self) -> Result<Vec<Collection>> {
        self.noted(StoreOperation::Read, self.store.collections()).await
    }

    async fn collection(&self, name: &CollectionName) -> Result<Collection> {
        self.noted(StoreOperation::Read, self.store.collection(name)).await
    }

    async fn delete_collection(&self, name: &CollectionName) -> Result<()> {
        self.write(StoreOperation::Delete, self.store.delete_collection(name)).await
    }

    async fn documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        self.noted(StoreOperation::Read, self.store.documents(collection, after, limit)).await
    }

    async fn document(&self, id: &DocumentId) -> Result<Document> {
        self.noted(StoreOperation::Read, self.store.document(id)).await
    }

    async fn content(&self, id: &DocumentId) -> Result<String> {
        self.noted(StoreOperation::Read, self.store.content(id)).await
    }

    async fn chunks(&self, id: &DocumentId) -> Result<Vec<Chunk>> {
        self.noted(StoreOperation::Read, self.store.chunks(id)).await
    }

    async fn delete_document(&self, id: &DocumentId) -> Result<()> {
        self.write(StoreOperation::Delete, self.store.delete_document(id)).await
    }

    async fn begin_reindex(&self, collection: &CollectionName, embedding: &Embedding) -> Result<Reindex> {
        self.write(StoreOperation::Reindex, self.store.begin_reindex(collection, embedding)).await
    }

    async fn pending(&self, reindex: &Reindex, limit: usize) -> Result<Vec<Document>> {
        self.noted(StoreOperation::Reindex, self.store.pending(reindex, limit)).await
    }

    async fn put_reindexed(
        &self,
        reindex: &Reindex,
        id: &DocumentId,
        content_hash: &str,
        chunks: Vec<Chunk>,
    ) -> Result<bool> {
        let call = self.store.put_reindexed(reindex, id, content_hash, chunks);
        self.write(StoreOperation::Reindex, call).await
    }

    async fn finish_reindex(&self, reindex: &Reindex) -> Result<u64> {
        self.write(StoreOperation::Reindex, self.store.finish_reindex(reindex)).await
    }

    async fn abandon_reindex(&self, reindex: &Reindex) -> Result<()> {
        self.write(StoreOperation::Reindex, self.store.abandon_reindex(reindex)).await
    }

    async fn check(&self) -> Result<()> {
        self.noted(StoreOperation::Check, self.store.check()).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.noted(StoreOperation::Check, self.store.stats()).await
    }

    async fn stop(&self) {
        self.store.stop().await;
    }
}

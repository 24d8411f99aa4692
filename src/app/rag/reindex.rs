//! Moving a collection to another embedding model: its chunks are embedded again, document by document, while the old
//! vectors serve searches. After an interruption, the next attempt continues where it stopped.

use std::{
    collections::HashMap,
    iter::once,
    sync::{Arc, Mutex as StdMutex, PoisonError, Weak},
};

use tokio::sync::Mutex;

use super::embedder::{Embedder, Piece};
use crate::{
    app::{App, Caller},
    error::{Error, Kind, Result},
    text::chunk::Span,
    types::{Capability, EmbedRequest},
    vectors::{Chunk, Collection, CollectionName, Document, DocumentId, Embedding, Reindex, VectorStore},
};

/// Documents that are listed at a time.
const BATCH: usize = 100;
const MODEL: &str = "/embedding_model";

/// How far a collection has been moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub embedding_model: String,
    /// Documents of the collection.
    pub documents: u64,
    /// Those of them that have vectors of the new model.
    pub done: u64,
    /// Chunks that were embedded by this call.
    pub chunks: u64,
}

/// Collections that are being moved.
#[derive(Default)]
pub(super) struct Moves(StdMutex<HashMap<CollectionName, Weak<Move>>>);

struct Move {
    model: String,
    /// Held by the request that does the work.
    turn: Mutex<()>,
}

impl Moves {
    /// Joins the move of this collection to this model, or begins it.
    ///
    /// # Errors
    /// `Invalid` while the collection is being moved to another model.
    fn join(&self, name: &CollectionName, model: &str) -> Result<Arc<Move>> {
        let mut moves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moves.retain(|_, running| running.strong_count() > 0);
        match moves.get(name).and_then(Weak::upgrade) {
            Some(running) if running.model == model => Ok(running),
            Some(running) => {
                let detail = format!(
                    "must be {:?}, to which another request is moving the collection; wait until it has ended",
                    running.model
                );
                Err(Error::field(MODEL, detail))
            }
            None => {
                let running = Arc::new(Move { model: model.to_owned(), turn: Mutex::default() });
                moves.insert(name.clone(), Arc::downgrade(&running));
                Ok(running)
            }
        }
    }
}

impl App {
    /// Moves a collection to another embedding model, or continues an interrupted move. Chunks keep their
    /// places; one that is longer than the new model reads is divided. Of several calls at once for one model one does
    /// the work, and the others wait for it. If the collection has vectors of this model already, an unfinished move to
    /// another one is discarded.
    ///
    /// # Errors
    /// `NotFound` when there is no such collection; `Invalid` when the model cannot embed, or the collection is being
    /// moved to another one; those of the model and of the store. Until the end the old vectors serve.
    pub async fn reindex(
        &self,
        caller: &Caller,
        name: &CollectionName,
        model: &str,
        progress: impl Fn(Moved) + Send + Sync,
    ) -> Result<Moved> {
        let store = &self.documents.store;
        // Before a model is loaded for nothing.
        store.collection(name).await?;
        let model = self.resolve(Some(model), Capability::Embedding).await.map_err(at_model)?;
        let running = self.documents.moves.join(name, &model)?;
        let _turn = running.turn.lock().await;
        let embedding = self.embedding_of(caller, model).await?;
        let collection = store.collection(name).await?;
        if collection.embedding == embedding {
            self.discard_other(&collection).await?;
            return Ok(moved(&embedding, &collection, 0, 0));
        }
        let reindex = store.begin_reindex(name, &embedding).await?;
        let mut chunks = 0;
        loop {
            let pending = store.finish_reindex(&reindex).await?;
            let collection = store.collection(name).await?;
            if pending == 0 {
                return Ok(moved(&embedding, &collection, 0, chunks));
            }
            for (document, left) in store.pending(&reindex, BATCH).await?.iter().zip((1..=pending).rev()) {
                let step = |added| progress(moved(&embedding, &collection, left, chunks + added));
                chunks += self.move_document(caller, &reindex, document, &step).await?;
            }
        }
    }

    /// Embeds the chunks of a document for the new set, and returns their number.
    async fn move_document(
        &self,
        caller: &Caller,
        reindex: &Reindex,
        document: &Document,
        progress: &(impl Fn(u64) + Sync),
    ) -> Result<u64> {
        let old = self.chunks(&document.id).await?;
        let text: String = old.iter().map(|chunk| chunk.content.as_str()).collect();
        let embedder = Embedder {
            app: self,
            caller,
            model: &reindex.embedding.model,
            text: &text,
            known: HashMap::new(),
        };
        let embedded = embedder.embed(spans(&old), &|embedded, _| progress(embedded as u64)).await;
        let placed = |piece: Piece| {
            let metadata = old[piece.part.of].metadata.clone();
            piece.into_chunk(&text, metadata)
        };
        let chunks: Vec<Chunk> = embedded.map_err(at_model)?.into_iter().map(placed).collect();
        let count = chunks.len() as u64;
        if count > 0 {
            // One that has just been replaced or deleted is not stored, and is pending again if it is still there.
            let store = &self.documents.store;
            store.put_reindexed(reindex, &document.id, &document.content_hash, chunks).await?;
        }
        Ok(count)
    }

    /// The chunks of a document; none when it has just been deleted.
    async fn chunks(&self, id: &DocumentId) -> Result<Vec<Chunk>> {
        match self.documents.store.chunks(id).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            found => found,
        }
    }

    /// The embedding of a model, which says only with a vector how many numbers its vectors have.
    async fn embedding_of(&self, caller: &Caller, model: String) -> Result<Embedding> {
        let input = once("dimension".to_owned()).collect();
        let request = EmbedRequest { model: model.clone(), input, truncate: false, keep_alive: None };
        let embedded = self.embed(caller, request).await.map_err(at_model)?;
        let dimension = embedded.vectors.first().map_or(0, |vector| vector.len());
        Ok(Embedding { model, dimension })
    }

    async fn discard_other(&self, collection: &Collection) -> Result<()> {
        let Some(other) = &collection.reindexing else { return Ok(()) };
        let store = &self.documents.store;
        let begun = store.begin_reindex(&collection.name, other).await?;
        store.abandon_reindex(&begun).await
    }
}

fn moved(embedding: &Embedding, collection: &Collection, pending: u64, chunks: u64) -> Moved {
    let documents = collection.documents_count;
    let done = documents.saturating_sub(pending);
    Moved { embedding_model: embedding.model.clone(), documents, done, chunks }
}

/// Places of chunks: in bytes within the text of all of them, one after the other, in characters within their document.
fn spans(chunks: &[Chunk]) -> Vec<Span> {
    let mut end = 0;
    let span = |chunk: &Chunk| {
        let start = end;
        end += chunk.content.len();
        let [from, to] =
            [chunk.char_start, chunk.char_end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        Span { bytes: start..end, chars: from..to }
    };
    chunks.iter().map(span).collect()
}

fn at_model(error: Error) -> Error {
    error.at(|_| MODEL.to_owned())
}

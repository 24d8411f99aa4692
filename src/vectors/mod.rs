//! Documents: their text, their chunks, and the vectors and words by which chunks are found. `VectorStore` is the one
//! place where they live; `Sqlite` is the embedded one, `Qdrant` the one in a server. It knows nothing of HTTP, of files that documents
//! come from, or of how texts are embedded.
//!
//! Every store behaves the same, which `tests/vectors` holds: a document is in a collection wholly or not at all,
//! and a search sees each document in one version.

pub mod filter;
pub mod metadata;
mod names;
mod qdrant;
pub mod ranking;
mod settings;
pub mod sqlite;
mod stop_words;

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use self::{
    filter::Filter,
    metadata::Metadata,
    names::{CollectionName, DocumentId},
    qdrant::Qdrant,
    settings::{Settings, build, file},
    sqlite::Sqlite,
};
use crate::error::{Error, Kind, Result};

/// Maximum number of hits of one search.
pub const MAX_TOP_K: usize = 1000;

/// Maximum number of words that are searched for; the rest of a text is left out.
pub const MAX_QUERY_WORDS: usize = 64;

/// The model that made a collection's vectors, and their number of dimensions. Vectors are compared by the cosine of
/// their angle, so that their length does not matter; stores keep them with length 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    pub model: String,
    pub dimension: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    pub name: CollectionName,
    /// Of the vectors that are searched.
    pub embedding: Embedding,
    /// Of the vectors that a reindex is building.
    pub reindexing: Option<Embedding>,
    pub documents_count: u64,
    /// Chunks that are searched; each has one vector.
    pub chunks_count: u64,
}

/// A document to be stored.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Without one, the document with the same content is replaced, or a new id is made.
    pub id: Option<DocumentId>,
    pub title: Option<String>,
    pub metadata: Metadata,
    /// The whole text.
    pub content: String,
    /// In their order; at least one.
    pub chunks: Vec<Chunk>,
}

/// A piece of a document's text, with its vector.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Offsets in characters: `content[char_start..char_end]` is the chunk.
    pub char_start: u64,
    pub char_end: u64,
    pub content: String,
    /// Facts about this chunk besides its offsets, such as `page` and `heading`.
    pub metadata: Metadata,
    pub vector: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: DocumentId,
    /// In the order of the chunks.
    pub chunk_ids: Vec<String>,
    /// Whether an older version was replaced.
    pub replaced: bool,
}

/// A document without its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub id: DocumentId,
    pub collection: CollectionName,
    pub title: Option<String>,
    /// The caller's own.
    pub metadata: Metadata,
    /// See `content_hash`.
    pub content_hash: String,
    pub content_bytes: u64,
    pub chunks_count: u64,
    /// Time of its first version.
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The stored version of a document that is about to be ingested again.
#[derive(Clone, Debug)]
pub struct Previous {
    pub id: DocumentId,
    pub embedding: Embedding,
    /// Vectors by the text of the chunk that they belong to.
    pub vectors: HashMap<String, Vec<f32>>,
}

#[derive(Clone, Debug)]
pub struct Query {
    pub search: Search,
    pub filter: Option<Filter>,
    /// Maximum number of hits, 1 to `MAX_TOP_K`.
    pub top_k: usize,
    /// Hits with a lower score are left out.
    pub score_threshold: Option<f32>,
    /// 0 ranks by relevance only; up to 1, hits that resemble a better hit move down (MMR).
    pub diversity: f32,
}

/// How chunks are found, and the meaning of a hit's score.
#[derive(Clone, Debug)]
pub enum Search {
    /// Score: the cosine, negative ones counted as 0.
    Vector(QueryVector),
    /// Any of the words of a text, without English stop words if it has others; whatever it holds is text, never a query
    /// language. Score: the hit's BM25 as a share of the best hit's, so that the best has 1. A store may leave out words
    /// that are in very many chunks.
    Keyword(String),
    /// Reciprocal rank fusion of both. Score: as a share of what a chunk gets that is first in both.
    Hybrid(QueryVector, String),
}

#[derive(Clone, Debug)]
pub struct QueryVector {
    /// The model that made it.
    pub model: String,
    pub values: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Best first.
    Hits(Vec<Hit>),
    /// The collection's vectors are of another model than the query's, for example since a reindex: embed the query
    /// with this one.
    OtherModel(Embedding),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub chunk_id: String,
    pub document_id: DocumentId,
    pub content: String,
    /// 0 to 1; see `Search`.
    pub score: f32,
    /// The document's, the chunk's, and `chunk_index`, `char_start`, `char_end` and `chunk_length`; the chunk's come
    /// before the document's of the same name.
    pub metadata: Metadata,
}

/// A reindex that is under way: another set of chunks and vectors of a collection, which is not searched yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reindex {
    pub collection: CollectionName,
    pub embedding: Embedding,
    /// Number of the set in its store.
    pub generation: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub collections: u64,
    pub documents: u64,
    pub chunks: u64,
    /// On disk; in Qdrant, which does not tell, those of the vectors.
    pub bytes: u64,
}

/// Store of documents and vectors. Errors of every method: `Unavailable` when the store cannot be reached, or cannot
/// be read or written.
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// `embedded` or `qdrant`.
    fn name(&self) -> &'static str;

    /// Stores a document and makes its collection, when it is missing. An older version of it is replaced at once: a
    /// search finds the old one or the new one. Of two puts of one document at once, the later one stays.
    ///
    /// Qdrant: the points of the new version are written with a new version number; the collection's own point, written
    /// last, says which version counts.
    ///
    /// # Errors
    /// `Invalid` when the collection's vectors are of another model or dimension, when the id belongs to a document of
    /// another collection, or when the metadata breaks the rules of `metadata::check`.
    async fn put(
        &self,
        collection: &CollectionName,
        embedding: &Embedding,
        document: NewDocument,
    ) -> Result<Stored>;

    /// Finds the document that a `put` with this id and content would replace, with its vectors, so that only chunks
    /// that have changed need to be embedded.
    ///
    /// # Errors
    /// `Invalid` when the id belongs to a document of another collection.
    async fn previous(
        &self,
        collection: &CollectionName,
        id: Option<&DocumentId>,
        content: &str,
    ) -> Result<Option<Previous>>;

    /// Finds chunks.
    ///
    /// # Errors
    /// `NotFound` when there is no such collection; `Invalid` for bounds that are not kept.
    async fn search(&self, collection: &CollectionName, query: Query) -> Result<Found>;

    /// Lists all collections, by name.
    async fn collections(&self) -> Result<Vec<Collection>>;

    /// # Errors
    /// `NotFound`
    async fn collection(&self, name: &CollectionName) -> Result<Collection>;

    /// Deletes a collection with its documents.
    ///
    /// # Errors
    /// `NotFound`
    async fn delete_collection(&self, name: &CollectionName) -> Result<()>;

    /// Lists documents in the store's own order, which is the same at every call: at most `limit`, those after `after`.
    ///
    /// # Errors
    /// `NotFound` when there is no such collection.
    async fn documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>>;

    /// # Errors
    /// `NotFound`
    async fn document(&self, id: &DocumentId) -> Result<Document>;

    /// Returns the whole text of a document.
    ///
    /// # Errors
    /// `NotFound`
    async fn content(&self, id: &DocumentId) -> Result<String>;

    /// Returns the chunks of a document that are searched, in their order, with their vectors.
    ///
    /// # Errors
    /// `NotFound`
    async fn chunks(&self, id: &DocumentId) -> Result<Vec<Chunk>>;

    /// Deletes a document with its chunks. The collection stays, even when this was its last one.
    ///
    /// # Errors
    /// `NotFound`
    async fn delete_document(&self, id: &DocumentId) -> Result<()>;

    /// Begins to build another set of chunks and vectors beside the one that is searched, or continues to, when one of
    /// this model was begun and not finished. One of another model is discarded.
    ///
    /// Qdrant: a second collection of Qdrant, which the collection's own point names from `finish_reindex` on.
    ///
    /// # Errors
    /// `NotFound` when there is no such collection.
    async fn begin_reindex(&self, collection: &CollectionName, embedding: &Embedding) -> Result<Reindex>;

    /// Lists documents that are not in the new set yet; a document that is replaced meanwhile becomes one of them again.
    ///
    /// # Errors
    /// `NotFound` when the reindex was finished, abandoned or replaced by another one. So do the next two.
    async fn pending(&self, reindex: &Reindex, limit: usize) -> Result<Vec<Document>>;

    /// Stores a document's chunks in the new set, unless its content is no longer that of this hash. Returns whether
    /// they were stored.
    async fn put_reindexed(
        &self,
        reindex: &Reindex,
        id: &DocumentId,
        content_hash: &str,
        chunks: Vec<Chunk>,
    ) -> Result<bool>;

    /// Searches the new set from now on and removes the old one, unless documents are pending, whose number it returns:
    /// 0 when it is done.
    async fn finish_reindex(&self, reindex: &Reindex) -> Result<u64>;

    /// Discards the new set. One that is gone already is no error.
    async fn abandon_reindex(&self, reindex: &Reindex) -> Result<()>;

    /// Fails when the store cannot be used, and says why.
    async fn check(&self) -> Result<()>;

    /// Counts what is stored.
    async fn stats(&self) -> Result<Stats>;

    /// Waits for what is being written, and ends.
    async fn stop(&self);
}

/// Identifies a document's text: its SHA-256 in hexadecimal.
pub fn content_hash(content: &str) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Query {
    /// # Errors
    /// `Invalid`, at the field whose bound is not kept.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_TOP_K).contains(&self.top_k) {
            return Err(Error::field("/top_k", format!("must be between 1 and {MAX_TOP_K}")));
        }
        for (pointer, value) in
            [("/diversity", Some(self.diversity)), ("/score_threshold", self.score_threshold)]
        {
            if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
                return Err(Error::field(pointer, "must be between 0 and 1"));
            }
        }
        Ok(())
    }
}

/// Checks chunks before they are stored, and brings their vectors to length 1.
///
/// # Errors
/// `Invalid` when there is none; `BadGateway` when a vector is not one of this embedding.
pub fn prepare(chunks: &mut [Chunk], embedding: &Embedding) -> Result<()> {
    if chunks.is_empty() {
        return Err(Error::field("/content", "must contain text"));
    }
    for chunk in chunks {
        if chunk.vector.len() != embedding.dimension || !chunk.vector.iter().all(|value| value.is_finite()) {
            let Embedding { model, dimension } = embedding;
            let message =
                format!("The model {model:?} returned a vector that does not have {dimension} numbers.");
            return Err(Error::new(Kind::BadGateway, message));
        }
        ranking::normalize(&mut chunk.vector);
    }
    Ok(())
}

/// The refusal of vectors of another model than the collection's.
pub fn other_embedding(name: &CollectionName, has: &Embedding, given: &Embedding) -> Error {
    let message = format!(
        "The vectors of the collection \"{name}\" were made by the model {:?} ({} dimensions), not by {:?} ({} dimensions). Use the same model, or move the collection to the other one with POST /rag/collections/{name}/reindex.",
        has.model, has.dimension, given.model, given.dimension
    );
    Error::new(Kind::Invalid, message)
}

pub fn no_collection(name: &CollectionName) -> Error {
    Error::new(Kind::NotFound, format!("There is no collection \"{name}\"."))
}

pub fn no_document(id: &DocumentId) -> Error {
    Error::new(Kind::NotFound, format!("There is no document {:?}.", id.as_str()))
}

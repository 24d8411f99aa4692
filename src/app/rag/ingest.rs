//! Ingestion: a text is split into chunks, the new ones are embedded, and the document is stored in one step.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{
    ChunkUnit,
    embedder::{Embedder, Piece},
};
use crate::{
    app::{App, Caller},
    error::{Error, Kind, Result},
    text::{
        chunk::{ChunkSize, Chunking, Span, chunk},
        extract::{Extracted, markdown_headings},
    },
    types::Capability,
    vectors::{CollectionName, DocumentId, Embedding, Metadata, NewDocument, VectorStore, metadata},
};

/// Maximum characters of a title that is taken from a document.
const TITLE_CHARS: usize = 200;

/// A document to ingest.
#[derive(Debug)]
pub struct Ingest {
    pub collection: CollectionName,
    /// Without one, the document with the same content is replaced, or an id is made.
    pub id: Option<DocumentId>,
    /// Without one, a file's own title, or else its name.
    pub title: Option<String>,
    pub metadata: Metadata,
    pub source: Source,
    /// Without one, the one for the format.
    pub chunking: Option<Chunking>,
    pub size: ChunkSize,
    pub unit: ChunkUnit,
}

/// Origin of a document's text.
#[derive(Debug)]
pub enum Source {
    Text(String),
    File { bytes: Bytes, name: Option<String> },
}

impl Source {
    /// Its field in a request.
    fn pointer(&self) -> &'static str {
        match self {
            Self::Text(_) => "/content",
            Self::File { .. } => "/file",
        }
    }
}

#[derive(Debug)]
pub struct Ingested {
    pub id: DocumentId,
    pub collection: CollectionName,
    /// In the order of the text.
    pub chunk_ids: Vec<String>,
    /// Chunks that the previous version also had.
    pub chunks_unchanged: usize,
    pub embedding_model: String,
}

/// A step of an ingestion.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A file's text is being extracted.
    Extracting,
    /// Chunks are being embedded; `embedded` of them are done.
    Embedding { embedded: usize, chunks: usize },
    /// All chunks are embedded; the document is being stored.
    Storing,
}

/// A document that has been split.
struct Prepared {
    id: Option<DocumentId>,
    title: Option<String>,
    metadata: Metadata,
    content: Extracted,
    spans: Vec<Span>,
}

impl App {
    /// Ingests a document. An older version is replaced atomically, and chunks that have not changed are not embedded
    /// again.
    ///
    /// # Errors
    /// `Invalid` when the content has no text; those of the model and of the store.
    pub async fn ingest(
        &self,
        caller: &Caller,
        ingest: Ingest,
        progress: impl Fn(Step) + Send + Sync,
    ) -> Result<Ingested> {
        let Ingest { collection, id, title, metadata, source, chunking, size, unit } = ingest;
        metadata::check(&metadata)?;
        let model = self.embedding_model(&collection).await?;
        let pointer = source.pointer();
        let content = self.content_of(caller, source, &progress).await?;
        let title = title.or_else(|| content.title.clone());
        let chunking = chunking.unwrap_or_else(|| usual_chunking(&content));
        let (content, spans) = match unit {
            ChunkUnit::Characters => split(content, chunking, size).await?,
            ChunkUnit::Tokens => self.split_by_tokens(&model, content, chunking, size).await?,
        };
        if spans.is_empty() {
            return Err(Error::field(pointer, "must contain text"));
        }
        let document = Prepared { id, title, metadata, content, spans };
        let refused = match self.take_in(caller, &collection, &document, &model, &progress).await {
            Err(error) if error.kind() == Kind::Invalid => error,
            outcome => return outcome,
        };
        // The collection may have been moved to another model meanwhile.
        let now = self.embedding_model(&collection).await?;
        if now == model {
            return Err(refused);
        }
        self.take_in(caller, &collection, &document, &now, &progress).await
    }

    /// Embeds the new chunks with this model, and stores the document.
    async fn take_in(
        &self,
        caller: &Caller,
        collection: &CollectionName,
        document: &Prepared,
        model: &str,
        progress: &(impl Fn(Step) + Sync),
    ) -> Result<Ingested> {
        let Prepared { id, title, metadata, content, spans } = document;
        let store = &self.documents.store;
        let known = match store.previous(collection, id.as_ref(), &content.text).await? {
            Some(previous) if previous.embedding.model == model => previous.vectors,
            _ => HashMap::new(),
        };
        let embedder = Embedder { app: self, caller, model, text: &content.text, known };
        let step = |embedded, chunks| progress(Step::Embedding { embedded, chunks });
        let embedded = embedder.embed(spans.clone(), &step).await?;
        let dimension = embedded.first().map_or(0, Piece::dimension);
        let embedding = Embedding { model: model.to_owned(), dimension };
        let chunks_unchanged = embedded.iter().filter(|piece| piece.is_known).count();
        let placed = |piece: Piece| {
            let metadata = place(content, piece.part.span.chars.start);
            piece.into_chunk(&content.text, metadata)
        };
        let document = NewDocument {
            id: id.clone(),
            title: title.clone(),
            metadata: metadata.clone(),
            content: content.text.clone(),
            chunks: embedded.into_iter().map(placed).collect(),
        };
        progress(Step::Storing);
        let stored = store.put(collection, &embedding, document).await?;
        Ok(Ingested {
            id: stored.id,
            collection: collection.clone(),
            chunk_ids: stored.chunk_ids,
            chunks_unchanged,
            embedding_model: embedding.model,
        })
    }

    /// The text of a source, with a title if it is a file.
    async fn content_of(
        &self,
        caller: &Caller,
        source: Source,
        progress: &(impl Fn(Step) + Sync),
    ) -> Result<Extracted> {
        let pointer = source.pointer();
        let (bytes, name) = match source {
            Source::Text(text) => return Ok(Extracted { text, ..Extracted::default() }),
            Source::File { bytes, name } => (bytes, name),
        };
        progress(Step::Extracting);
        let named = name.as_deref().and_then(last_part);
        let content = self.extract(caller, bytes, name, pointer).await?;
        let title = content.title.as_deref().map(|title| title.chars().take(TITLE_CHARS).collect());
        Ok(Extracted { title: title.or(named), ..content })
    }

    /// The model of a collection's vectors; for a new collection the default one.
    async fn embedding_model(&self, collection: &CollectionName) -> Result<String> {
        match self.documents.store.collection(collection).await {
            Ok(found) => self.resolve(Some(&found.embedding.model), Capability::Embedding).await,
            Err(error) if error.kind() == Kind::NotFound => self.resolve(None, Capability::Embedding).await,
            Err(error) => Err(error),
        }
    }
}

/// Returns the name of a file without its folders, which are the client's own; `None` if nothing is left of it.
fn last_part(path: &str) -> Option<String> {
    let name: String = path.rsplit(['/', '\\']).next()?.chars().filter(|c| !c.is_control()).collect();
    let name: String = name.trim().chars().take(TITLE_CHARS).collect();
    (!name.is_empty()).then_some(name)
}

fn usual_chunking(content: &Extracted) -> Chunking {
    match content.metadata.get("format").and_then(Value::as_str) {
        Some("markdown") => Chunking::Markdown,
        Some("source" | "json") => Chunking::Code,
        _ => Chunking::Recursive,
    }
}

async fn split(content: Extracted, chunking: Chunking, size: ChunkSize) -> Result<(Extracted, Vec<Span>)> {
    let split = move || {
        let content = with_headings(content, chunking);
        let spans = chunk(&content.text, chunking, size);
        (content, spans)
    };
    off_thread(split).await
}

/// A text that is split as Markdown has Markdown's headings.
pub(super) fn with_headings(mut content: Extracted, chunking: Chunking) -> Extracted {
    if chunking == Chunking::Markdown && content.headings.is_empty() {
        content.headings = markdown_headings(&content.text);
    }
    content
}

/// Runs work on a thread for blocking work, where it does not delay requests.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|source| {
        Error::new(Kind::Internal, "The text could not be split into chunks.").with_source(source)
    })
}

/// Returns where a character is: its page, and the headings above it, the highest first.
fn place(content: &Extracted, at: usize) -> Metadata {
    let page = content.page_at(at).map(|page| ("page".to_owned(), page.into()));
    let path = content.heading_path(at).join(" > ");
    let heading = (!path.is_empty()).then(|| ("heading".to_owned(), path.into()));
    page.into_iter().chain(heading).collect()
}

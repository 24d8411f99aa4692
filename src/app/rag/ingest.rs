//! Ingestion: a text is split, what is new of it is embedded, and the whole is stored at once.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::ChunkUnit;
use crate::{
    app::{App, Caller},
    error::{Error, Kind, Result},
    text::{
        chunk::{ChunkSize, Chunking, Span, chunk},
        extract::{Extracted, markdown_headings},
    },
    types::{Capability, EmbedRequest},
    vectors::{Chunk, CollectionName, DocumentId, Embedding, Metadata, NewDocument, metadata},
};

/// Texts in one call of the embedding model: many enough to keep it busy, few enough to show progress.
const BATCH: usize = 64;

/// Maximum characters of a title that is taken from a document.
const TITLE_CHARS: usize = 200;

/// A document to take in.
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
    /// Chunks that the version before had, too.
    pub chunks_unchanged: usize,
    pub embedding_model: String,
}

/// A step of an ingestion.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A file's text is being extracted.
    Extracting,
    /// So many chunks have their vectors, of all.
    Embedding { embedded: usize, chunks: usize },
    /// All chunks have their vectors.
    Storing,
}

impl App {
    /// Takes a document in. An older version of it is replaced at once; its chunks that have not changed are
    /// not embedded again.
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
        let store = &self.documents.store;
        let model = self.embedding_model(&collection).await?;
        let pointer = source.pointer();
        let content = self.content_of(caller, source, &progress).await?;
        let title = title.or_else(|| content.title.clone());
        let chunking = chunking.unwrap_or_else(|| usual_chunking(&content));
        let known = match store.previous(&collection, id.as_ref(), &content.text).await? {
            Some(previous) if previous.embedding.model == model => previous.vectors,
            _ => HashMap::new(),
        };
        let (content, spans) = match unit {
            ChunkUnit::Characters => split(content, chunking, size).await?,
            ChunkUnit::Tokens => self.split_by_tokens(&model, content, chunking, size).await?,
        };
        let embedded = Embedder { app: self, caller, model: &model, text: &content.text, known }
            .embed(spans, &progress)
            .await?;
        let Some(first) = embedded.first() else {
            return Err(Error::field(pointer, "must contain text"));
        };
        let embedding = Embedding { model, dimension: first.vector.len() };
        let chunks_unchanged = embedded.iter().filter(|piece| piece.is_known).count();
        let chunks = embedded.into_iter().map(|piece| piece.into_chunk(&content)).collect();
        let document = NewDocument { id, title, metadata, content: content.text, chunks };
        progress(Step::Storing);
        let stored = store.put(&collection, &embedding, document).await?;
        Ok(Ingested {
            id: stored.id,
            collection,
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

/// The name of a file without its folders, which are not ours to know; none if nothing is left of it.
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

/// Works on a thread where that holds no request up.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|source| {
        Error::new(Kind::Internal, "The text could not be split into chunks.").with_source(source)
    })
}

/// A chunk with its vector.
struct Piece {
    span: Span,
    vector: Vec<f32>,
    /// Whether the vector is that of the version before.
    is_known: bool,
}

impl Piece {
    fn into_chunk(self, content: &Extracted) -> Chunk {
        let Self { span, vector, is_known: _ } = self;
        Chunk {
            char_start: span.chars.start as u64,
            char_end: span.chars.end as u64,
            metadata: place(content, span.chars.start),
            content: content.text[span.bytes].to_owned(),
            vector,
        }
    }
}

struct Embedder<'a> {
    app: &'a App,
    caller: &'a Caller,
    model: &'a str,
    text: &'a str,
    /// Vectors by the text of their chunks.
    known: HashMap<String, Vec<f32>>,
}

impl Embedder<'_> {
    /// Embeds all chunks, batch by batch. One that is longer than the model reads is divided until its parts are not.
    async fn embed(self, spans: Vec<Span>, progress: &(impl Fn(Step) + Sync)) -> Result<Vec<Piece>> {
        progress(Step::Embedding { embedded: 0, chunks: spans.len() });
        let mut pieces = Vec::with_capacity(spans.len());
        let mut waiting = VecDeque::from(spans);
        while !waiting.is_empty() {
            let batch: Vec<Span> = waiting.drain(..BATCH.min(waiting.len())).collect();
            match self.embed_batch(&batch).await {
                Ok(done) => pieces.extend(done),
                Err(error) => {
                    let parts = self.divide(batch, &error).ok_or(error)?;
                    parts.into_iter().rev().for_each(|span| waiting.push_front(span));
                }
            }
            progress(Step::Embedding { embedded: pieces.len(), chunks: pieces.len() + waiting.len() });
        }
        Ok(pieces)
    }

    async fn embed_batch(&self, batch: &[Span]) -> Result<Vec<Piece>> {
        let known: Vec<_> = batch.iter().map(|span| self.known.get(self.part(span))).collect();
        let input = self.unknown(batch).map(|(_, span)| self.part(span).to_owned()).collect::<Vec<_>>();
        let mut vectors = Vec::new().into_iter();
        if !input.is_empty() {
            let model = self.model.to_owned();
            let request = EmbedRequest { model, input, truncate: false, keep_alive: None };
            vectors = self.app.embed(self.caller, request).await?.vectors.into_iter();
        }
        let piece = |(span, known): (&Span, Option<&Vec<f32>>)| {
            let vector = known.cloned().or_else(|| vectors.next().map(|vector| vector.to_vec()))?;
            Some(Piece { span: span.clone(), vector, is_known: known.is_some() })
        };
        Ok(batch.iter().zip(known).filter_map(piece).collect())
    }

    /// Chunks of a batch without a known vector, with their places in it.
    fn unknown<'b>(&self, batch: &'b [Span]) -> impl Iterator<Item = (usize, &'b Span)> {
        batch.iter().enumerate().filter(|(_, span)| !self.known.contains_key(self.part(span)))
    }

    fn part(&self, span: &Span) -> &str {
        &self.text[span.bytes.clone()]
    }

    /// The batch with those chunks divided that the model has refused as too long; `None` if that is not why it has
    /// failed.
    fn divide(&self, batch: Vec<Span>, error: &Error) -> Option<Vec<Span>> {
        let refused = error.field_errors().iter().filter_map(|field| field.pointer.strip_prefix("/input/"));
        let refused: HashSet<usize> = refused.filter_map(|index| index.parse().ok()).collect();
        let too_long: HashSet<usize> = self
            .unknown(&batch)
            .enumerate()
            .filter(|(input, (_, span))| refused.contains(input) && span.chars.len() > 1)
            .map(|(_, (place, _))| place)
            .collect();
        if too_long.is_empty() {
            return None;
        }
        let parts = |(place, span): (usize, Span)| {
            if too_long.contains(&place) { halves(self.text, &span) } else { vec![span] }
        };
        Some(batch.into_iter().enumerate().flat_map(parts).collect())
    }
}

pub(super) fn halves(text: &str, span: &Span) -> Vec<Span> {
    let size = ChunkSize { size: span.chars.len().div_ceil(2), overlap: 0 };
    let within = |part: Span| Span {
        bytes: span.bytes.start + part.bytes.start..span.bytes.start + part.bytes.end,
        chars: span.chars.start + part.chars.start..span.chars.start + part.chars.end,
    };
    chunk(&text[span.bytes.clone()], Chunking::Recursive, size).into_iter().map(within).collect()
}

/// Where a character is: its page, and the headings above it from the highest on.
fn place(content: &Extracted, at: usize) -> Metadata {
    let page = content.page_at(at).map(|page| ("page".to_owned(), page.into()));
    let path = content.heading_path(at).join(" > ");
    let heading = (!path.is_empty()).then(|| ("heading".to_owned(), path.into()));
    page.into_iter().chain(heading).collect()
}

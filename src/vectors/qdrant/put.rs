//! Storing a document: all points of its new version, the marks on the old one, then the commit.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{
    super::{
        Chunk, CollectionName, Document, DocumentId, Embedding, NewDocument, Previous, Stored, content_hash,
        metadata, other_embedding, prepare,
    },
    Qdrant,
    catalog::{self, HASH, Record, State},
    chunks,
    failure::Outcome,
    points::is,
    versions,
};
use crate::error::Error;

pub(super) async fn put(
    store: &Qdrant,
    name: &CollectionName,
    embedding: &Embedding,
    mut document: NewDocument,
) -> Outcome<Stored> {
    metadata::check(&document.metadata)?;
    prepare(&mut document.chunks, embedding)?;
    let hash = content_hash(&document.content);
    let mut writing = store.begin_write().await?;
    let state = catalog::state(&store.client, name).await?;
    if let Some(state) = &state
        && state.searched.embedding != *embedding
    {
        return Err(other_embedding(name, &state.searched.embedding, embedding).into());
    }
    let existing = existing(store, state.as_ref(), document.id.as_ref(), &hash).await?;
    let mut state = match state {
        Some(state) => {
            store.clean(&mut writing, &state).await?;
            state
        }
        None => {
            let state = State::new(name, embedding);
            writing.is_prepared = false;
            chunks::create(&store.client, &state.searched).await?;
            state
        }
    };
    let chunks = std::mem::take(&mut document.chunks);
    let chunk_count = chunks.len();
    let record = record(&state, &document, existing.as_ref(), hash, chunk_count);
    let id = record.document.id.clone();
    write(store, &state, &record, &document.content, chunks).await?;
    if existing.is_some() {
        versions::retire(&store.client, &state, &id).await?;
    }
    state.version += 1;
    catalog::commit(&store.client, &state).await?;
    writing.is_prepared = true;
    store.remove_dead(&mut writing, &state, existing.is_some()).await;
    let chunk_ids = (0..chunk_count).map(|index| id.chunk(index)).collect();
    Ok(Stored { id, chunk_ids, replaced: existing.is_some() })
}

/// Stores all points of a version that does not count yet.
async fn write(
    store: &Qdrant,
    state: &State,
    record: &Record,
    content: &str,
    chunks: Vec<Chunk>,
) -> Outcome<()> {
    let Document { id, title, metadata, .. } = &record.document;
    let shown = metadata::of_document(metadata, title.as_deref());
    chunks::put(&store.client, &state.searched, id, record.born, &shown, chunks).await?;
    catalog::put(&store.client, state, record, content).await
}

fn record(
    state: &State,
    document: &NewDocument,
    existing: Option<&Record>,
    content_hash: String,
    chunk_count: usize,
) -> Record {
    let old = existing.map(|existing| &existing.document);
    let id = old.map(|old| old.id.clone()).or_else(|| document.id.clone()).unwrap_or_else(DocumentId::random);
    let now = Timestamp::now();
    Record {
        collection: state.id.clone(),
        born: state.version + 1,
        parts: catalog::parts(&document.content).len() as u64,
        document: Document {
            id,
            collection: state.name.clone(),
            title: document.title.clone(),
            metadata: document.metadata.clone(),
            content_hash,
            content_bytes: document.content.len() as u64,
            chunks_count: chunk_count as u64,
            created_at: old.map_or(now, |old| old.created_at),
            updated_at: now,
        },
    }
}

/// Finds the document that one with this id and content replaces.
async fn existing(
    store: &Qdrant,
    state: Option<&State>,
    id: Option<&DocumentId>,
    hash: &str,
) -> Outcome<Option<Record>> {
    let Some(id) = id else {
        let Some(state) = state else { return Ok(None) };
        let mut of_this_content = state.documents();
        of_this_content.must.push(is(HASH, hash));
        let found = catalog::records(&store.client, state, &of_this_content, None, usize::MAX).await?;
        return Ok(found.into_iter().min_by_key(|record| record.document.created_at));
    };
    match catalog::find(&store.client, id).await? {
        Some((of, record)) if state.is_some_and(|state| state.id == of.id) => Ok(Some(record)),
        Some((of, _)) => {
            let detail = format!("belongs to a document of another collection: {}", of.name);
            Err(Error::field("/document_id", detail).into())
        }
        None => Ok(None),
    }
}

pub(super) async fn previous(
    store: &Qdrant,
    name: &CollectionName,
    id: Option<&DocumentId>,
    content: &str,
) -> Outcome<Option<Previous>> {
    let state = catalog::state(&store.client, name).await?;
    let record = existing(store, state.as_ref(), id, &content_hash(content)).await?;
    let (Some(state), Some(record)) = (state, record) else { return Ok(None) };
    // Without those that a put has just removed: their texts are embedded again.
    let points = chunks::points_of(&store.client, &state.searched, &record).await?;
    let mut vectors = HashMap::with_capacity(points.len());
    for point in &points {
        vectors.insert(chunks::content(point)?.to_owned(), chunks::dense(point)?);
    }
    Ok(Some(Previous { id: record.document.id, embedding: state.searched.embedding, vectors }))
}

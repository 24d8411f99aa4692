//! Collections and documents: listing, reading and deleting them.

use super::{
    super::{Chunk, Collection, CollectionName, Document, DocumentId, Stats, no_collection, no_document},
    Qdrant,
    catalog::{self, CATALOG, State},
    chunks,
    failure::{Failure, Outcome},
    points::{damaged, live},
    versions,
};
use crate::error::Kind;

/// How often what belongs to a document is looked for again that was replaced while it was read.
const ATTEMPTS: usize = 5;

/// The collections by name.
pub(super) async fn collections(store: &Qdrant) -> Outcome<Vec<Collection>> {
    let mut collections = Vec::new();
    for state in catalog::states(&store.client).await? {
        match collection(store, &state.name).await {
            // Deleted just now.
            Err(Failure::Refused(error)) if error.kind() == Kind::NotFound => {}
            found => collections.push(found?),
        }
    }
    Ok(collections)
}

pub(super) async fn collection(store: &Qdrant, name: &CollectionName) -> Outcome<Collection> {
    let read = |state: State| async move {
        let (documents_count, chunks_count) = counts(store, &state).await?;
        Ok(Collection {
            name: state.name,
            embedding: state.searched.embedding,
            reindexing: state.building.map(|building| building.embedding),
            documents_count,
            chunks_count,
        })
    };
    store.consistently(name, read).await
}

/// Numbers of documents and of chunks.
async fn counts(store: &Qdrant, state: &State) -> Outcome<(u64, u64)> {
    let documents = store.client.count(CATALOG, state.documents()).await?;
    let chunks = store.client.count(&state.searched.collection(), live(state.version)).await?;
    Ok((documents, chunks))
}

pub(super) async fn delete_collection(store: &Qdrant, name: &CollectionName) -> Outcome<()> {
    let mut writing = store.begin_write().await?;
    let state = catalog::state(&store.client, name).await?.ok_or_else(|| no_collection(name))?;
    writing.is_prepared = false;
    catalog::delete(&store.client, &state).await?;
    // It is gone, and what stays by a failure is removed before the next write.
    store
        .tidy_up(async {
            for generation in state.generations() {
                store.client.drop(&generation.collection()).await?;
            }
            catalog::delete_documents(&store.client, &state).await
        })
        .await;
    writing.is_prepared = true;
    Ok(())
}

pub(super) async fn documents(
    store: &Qdrant,
    name: &CollectionName,
    after: Option<&DocumentId>,
    limit: usize,
) -> Outcome<Vec<Document>> {
    let read = |state: State| async move {
        let records = catalog::records(&store.client, &state, &state.documents(), after, limit).await?;
        Ok(records.into_iter().map(|record| record.document).collect())
    };
    store.consistently(name, read).await
}

pub(super) async fn document(store: &Qdrant, id: &DocumentId) -> Outcome<Document> {
    let found = catalog::find(&store.client, id).await?;
    Ok(found.ok_or_else(|| no_document(id))?.1.document)
}

pub(super) async fn content(store: &Qdrant, id: &DocumentId) -> Outcome<String> {
    for _ in 0..ATTEMPTS {
        let (_, record) = catalog::find(&store.client, id).await?.ok_or_else(|| no_document(id))?;
        if let Some(content) = catalog::content(&store.client, &record).await? {
            return Ok(content);
        }
    }
    Err(damaged("a document has not all of its text"))
}

pub(super) async fn chunks(store: &Qdrant, id: &DocumentId) -> Outcome<Vec<Chunk>> {
    for _ in 0..ATTEMPTS {
        let (state, record) = catalog::find(&store.client, id).await?.ok_or_else(|| no_document(id))?;
        let found = chunks::of_document(&store.client, &state.searched, &record).await?;
        if found.len() as u64 == record.document.chunks_count {
            return Ok(found);
        }
    }
    Err(damaged("a document has not all of its chunks"))
}

pub(super) async fn delete_document(store: &Qdrant, id: &DocumentId) -> Outcome<()> {
    let mut writing = store.begin_write().await?;
    let (mut state, _) = catalog::find(&store.client, id).await?.ok_or_else(|| no_document(id))?;
    store.clean(&mut writing, &state).await?;
    versions::retire(&store.client, &state, id).await?;
    state.version += 1;
    catalog::commit(&store.client, &state).await?;
    store.remove_dead(&mut writing, &state, true).await;
    Ok(())
}

pub(super) async fn stats(store: &Qdrant) -> Outcome<Stats> {
    let mut stats = Stats::default();
    for found in collections(store).await? {
        stats.collections += 1;
        stats.documents += found.documents_count;
        stats.chunks += found.chunks_count;
        stats.bytes += found.chunks_count * found.embedding.dimension as u64 * size_of::<f32>() as u64;
    }
    Ok(stats)
}

//! Another generation of a collection, built document by document beside the one that is searched.

use qdrant_client::qdrant::{Filter, IsEmptyCondition};

use super::{
    super::{
        Chunk, CollectionName, Document, DocumentId, Embedding, Reindex, metadata, no_collection, prepare,
    },
    Qdrant,
    catalog::{self, CATALOG, Generation, KIND, Record, State},
    chunks,
    failure::Outcome,
    points::{BORN, DOCUMENT, is, payload, signed, until},
};
use crate::error::{Error, Kind};

pub(super) async fn begin_or_continue(
    store: &Qdrant,
    name: &CollectionName,
    embedding: &Embedding,
) -> Outcome<Reindex> {
    let mut writing = store.begin_write().await?;
    let mut state = catalog::state(&store.client, name).await?.ok_or_else(|| no_collection(name))?;
    store.clean(&mut writing, &state).await?;
    let generation = match state.building.take() {
        Some(begun) if begun.embedding == *embedding => begun,
        other => {
            let generation = Generation::new(embedding);
            writing.is_prepared = false;
            chunks::create(&store.client, &generation).await?;
            state.building = Some(generation.clone());
            catalog::commit(&store.client, &state).await?;
            if let Some(other) = other {
                store.tidy_up(store.client.drop(&other.collection())).await;
            }
            writing.is_prepared = true;
            generation
        }
    };
    store.is_clean(&mut writing, &state);
    Ok(Reindex { collection: name.clone(), embedding: generation.embedding, generation: generation.id })
}

pub(super) async fn pending(store: &Qdrant, reindex: &Reindex, limit: usize) -> Outcome<Vec<Document>> {
    let read = |state: State| async move {
        let building = building(&state, reindex)?;
        let filter = without_chunks(&state, building);
        let records = catalog::records(&store.client, &state, &filter, None, limit).await?;
        Ok(records.into_iter().map(|record| record.document).collect())
    };
    store.consistently(&reindex.collection, read).await
}

/// Documents that have no chunks in a generation.
fn without_chunks(state: &State, generation: &Generation) -> Filter {
    let mut filter = state.documents();
    filter.must.push(IsEmptyCondition { key: generation.chunks_field() }.into());
    filter
}

pub(super) async fn put(
    store: &Qdrant,
    reindex: &Reindex,
    id: &DocumentId,
    content_hash: &str,
    mut chunks: Vec<Chunk>,
) -> Outcome<bool> {
    prepare(&mut chunks, &reindex.embedding)?;
    let mut writing = store.begin_write().await?;
    let state = current(store, reindex).await?;
    let building = building(&state, reindex)?;
    let Some(record) = catalog::find(&store.client, id)
        .await?
        .map(|(_, record)| record)
        .filter(|record| record.collection == state.id && record.document.content_hash == content_hash)
    else {
        return Ok(false);
    };
    store.clean(&mut writing, &state).await?;
    // Until all of its chunks are there, the document is pending.
    let field = building.chunks_field();
    store.client.unset(CATALOG, of(&record), &field).await?;
    let old = Filter::must([is(DOCUMENT, id.as_str())]);
    store.client.delete(&building.collection(), old).await?;
    let chunk_count = signed(chunks.len() as u64);
    let shown = metadata::of_document(&record.document.metadata, record.document.title.as_deref());
    chunks::put(&store.client, building, id, record.born, &shown, chunks).await?;
    store.client.set(CATALOG, of(&record), payload([(field.as_str(), chunk_count.into())])).await?;
    store.is_clean(&mut writing, &state);
    Ok(true)
}

/// The point of a document.
fn of(record: &Record) -> Filter {
    let mut filter = Filter::must([
        is(KIND, "document"),
        is(catalog::COLLECTION, &record.collection),
        is(DOCUMENT, record.document.id.as_str()),
        until(BORN, record.born),
    ]);
    filter.must_not.push(until(BORN, record.born - 1));
    filter
}

pub(super) async fn finish(store: &Qdrant, reindex: &Reindex) -> Outcome<u64> {
    let mut writing = store.begin_write().await?;
    let mut state = current(store, reindex).await?;
    let new = building(&state, reindex)?.clone();
    store.clean(&mut writing, &state).await?;
    let pending = store.client.count(CATALOG, without_chunks(&state, &new)).await?;
    if pending > 0 {
        store.is_clean(&mut writing, &state);
        return Ok(pending);
    }
    let old = std::mem::replace(&mut state.searched, new);
    state.building = None;
    writing.is_prepared = false;
    catalog::commit(&store.client, &state).await?;
    store.tidy_up(store.client.drop(&old.collection())).await;
    writing.is_prepared = true;
    store.is_clean(&mut writing, &state);
    Ok(0)
}

pub(super) async fn abandon(store: &Qdrant, reindex: &Reindex) -> Outcome<()> {
    let mut writing = store.begin_write().await?;
    let Some(mut state) = catalog::state(&store.client, &reindex.collection).await? else { return Ok(()) };
    let Ok(discarded) = building(&state, reindex).cloned() else { return Ok(()) };
    state.building = None;
    writing.is_prepared = false;
    catalog::commit(&store.client, &state).await?;
    store.tidy_up(store.client.drop(&discarded.collection())).await;
    writing.is_prepared = true;
    Ok(())
}

/// The state while this reindex is under way.
async fn current(store: &Qdrant, reindex: &Reindex) -> Outcome<State> {
    let name = &reindex.collection;
    let state = catalog::state(&store.client, name).await?.ok_or_else(|| no_collection(name))?;
    building(&state, reindex)?;
    Ok(state)
}

fn building<'a>(state: &'a State, reindex: &Reindex) -> Outcome<&'a Generation> {
    let building = state.building.as_ref().filter(|building| building.id == reindex.generation);
    let gone = || {
        let message = format!(
            "This reindex of the collection \"{}\" was finished, discarded or replaced by another one.",
            reindex.collection
        );
        Error::new(Kind::NotFound, message)
    };
    Ok(building.ok_or_else(gone)?)
}

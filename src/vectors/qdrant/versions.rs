//! Versions of a collection: what a document's new version replaces is marked before the commit and removed after it,
//! and what a failed write has left is removed before the next one.

use qdrant_client::qdrant::Filter;

use super::{
    super::DocumentId,
    catalog::{CATALOG, COLLECTION, State},
    client::Client,
    failure::Outcome,
    points::{BORN, DIED, DOCUMENT, after, is, payload, until},
};

/// Where a collection has points, with a filter for its own.
fn places(state: &State) -> Vec<(String, Filter)> {
    let mut places = vec![(CATALOG.to_owned(), Filter::must([is(COLLECTION, &state.id)]))];
    places.extend(state.generations().map(|generation| (generation.collection(), Filter::default())));
    places
}

/// Marks a document's points of the version that counts as gone in the next one.
pub(super) async fn retire(client: &Client, state: &State, id: &DocumentId) -> Outcome<()> {
    for (place, mut filter) in places(state) {
        filter.must.extend([is(DOCUMENT, id.as_str()), until(BORN, state.version)]);
        client.set(&place, filter, payload([(DIED, (state.version + 1).into())])).await?;
    }
    Ok(())
}

/// Removes points that are gone in the version that counts.
pub(super) async fn remove_dead(client: &Client, state: &State) -> Outcome<()> {
    for (place, mut filter) in places(state) {
        filter.must.push(until(DIED, state.version));
        client.delete(&place, filter).await?;
    }
    Ok(())
}

/// Brings all points back to the version that counts.
pub(super) async fn recover(client: &Client, state: &State) -> Outcome<()> {
    remove_dead(client, state).await?;
    for (place, filter) in places(state) {
        let mut unborn = filter.clone();
        unborn.must.push(after(BORN, state.version));
        client.delete(&place, unborn).await?;
        let mut spared = filter;
        spared.must.push(after(DIED, state.version));
        client.unset(&place, spared, DIED).await?;
    }
    Ok(())
}

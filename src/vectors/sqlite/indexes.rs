//! The indexes of generations that were searched lately, kept in step with the file by their versions.

use std::sync::Arc;

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{index::Index, tables::Generation};

/// Those not searched for the longest leave first; they are read from the file again when they are searched.
const MAX_KILOBYTES: u64 = 256 << 10;

pub(super) struct Indexes(Cache<i64, Arc<Index>>);

/// Changes of a generation by one transaction.
pub(super) struct Change {
    /// As it was before.
    pub(super) generation: Generation,
    /// Version after the change.
    pub(super) version: i64,
    /// Ids of chunks, ascending.
    pub(super) removed: Vec<i64>,
    pub(super) added: Vec<(i64, Vec<f32>)>,
}

impl Indexes {
    pub(super) fn new() -> Self {
        let kilobytes =
            |_: &i64, index: &Arc<Index>| u32::try_from(index.bytes() / 1024 + 1).unwrap_or(u32::MAX);
        // Not TinyLFU, moka's default: that one may refuse an index that was just read.
        let policy = EvictionPolicy::lru();
        Self(Cache::builder().weigher(kilobytes).max_capacity(MAX_KILOBYTES).eviction_policy(policy).build())
    }

    /// The index of this version of a generation.
    pub(super) fn get(&self, generation: &Generation) -> Option<Arc<Index>> {
        self.0.get(&generation.id).filter(|index| index.version == generation.version)
    }

    pub(super) fn insert(&self, generation: &Generation, index: Arc<Index>) {
        self.0.insert(generation.id, index);
    }

    pub(super) fn remove(&self, generation: i64) {
        self.0.invalidate(&generation);
    }

    /// Brings an index up to date that is in memory. One that has missed a change is dropped.
    pub(super) fn apply(&self, change: &Change) {
        // Taken out, so that it is changed in place unless a search is using it.
        let Some(mut index) = self.0.remove(&change.generation.id) else { return };
        if index.version != change.generation.version {
            return;
        }
        let changed = Arc::make_mut(&mut index);
        changed.version = change.version;
        if !change.removed.is_empty() {
            changed.remove(&change.removed);
        }
        for (id, vector) in &change.added {
            changed.add(*id, vector);
        }
        self.insert(&change.generation, index);
    }
}

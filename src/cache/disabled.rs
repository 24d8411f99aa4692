//! The store of a cache that is switched off: it holds nothing.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{CacheEntry, CacheKey, CacheStats, EntryType, Store};
use crate::error::Result;

pub(super) struct Disabled;

#[async_trait]
impl Store for Disabled {
    fn name(&self) -> &'static str {
        "off"
    }

    async fn get(&self, keys: &[CacheKey]) -> Vec<Option<CacheEntry>> {
        vec![None; keys.len()]
    }

    fn get_now(&self, _: &CacheKey) -> Option<CacheEntry> {
        None
    }

    fn put(&self, _: CacheKey, _: Bytes, _: Duration) {}

    async fn clear(&self, _: Option<EntryType>) -> Result<u64> {
        Ok(0)
    }

    async fn stats(&self) -> CacheStats {
        CacheStats { status: "disabled".to_owned(), ..CacheStats::default() }
    }

    async fn stop(&self) {}
}

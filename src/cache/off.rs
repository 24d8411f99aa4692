//! The store of a cache that is switched off: it holds nothing.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{Entry, Holdings, Key, Kind, Store};
use crate::error::Result;

pub(super) struct Off;

#[async_trait]
impl Store for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    async fn get(&self, keys: &[Key]) -> Vec<Option<Entry>> {
        vec![None; keys.len()]
    }

    fn get_now(&self, _: &Key) -> Option<Entry> {
        None
    }

    fn put(&self, _: Key, _: Bytes, _: Duration) {}

    async fn clear(&self, _: Option<Kind>) -> Result<u64> {
        Ok(0)
    }

    async fn holdings(&self) -> Holdings {
        Holdings { status: "disabled".to_owned(), ..Holdings::default() }
    }

    async fn stop(&self) {}
}

//! Contract of a store of cached answers. A store moves bytes and keeps time; it knows nothing
//! of requests or replies, and none of its faults is more than a miss.

use std::{
    hash::{Hash, Hasher},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::types::EntryType;
use crate::{error::Result, types::PerType};

/// Where an entry is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey {
    pub entry_type: EntryType,
    /// SHA-256 of everything that can change the answer.
    pub hash: [u8; 32],
}

/// Its bytes are random already, so that a table needs no more than eight of them.
impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (parts, _) = self.hash.as_chunks::<8>();
        state.write_u64(u64::from_le_bytes(parts[0]));
    }
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    pub value: Bytes,
    pub stored_at: SystemTime,
    pub expires_at: SystemTime,
}

/// Contents and health of a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheStats {
    pub entries: PerType<u64>,
    /// Bytes in this process's memory, and the most there have been.
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    /// Bytes on disk, or in the Redis server.
    pub stored_bytes: u64,
    /// Entries that had to go before their time for want of room.
    pub evictions: u64,
    /// Calls that failed and were taken for misses.
    pub errors: u64,
    /// `available`, or why it is not, in a few plain words.
    pub status: String,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// `embedded` or `redis`.
    fn name(&self) -> &'static str;

    /// The entries of these keys, in their order; what is missing, expired or cannot be read is
    /// `None`. Never takes longer than the store's own patience.
    async fn get(&self, keys: &[CacheKey]) -> Vec<Option<CacheEntry>>;

    /// The same for one key when it is in this process's memory, without waiting for anything.
    fn get_now(&self, key: &CacheKey) -> Option<CacheEntry>;

    /// Keeps entries. Returns at once: writing is done behind the scenes, and an entry that cannot
    /// be written is only missed. A later `get` in this process finds it.
    fn put(&self, key: CacheKey, value: Bytes, ttl: Duration);

    /// Removes all our entries of one kind, or of all kinds, and returns their number. Other replicas drop
    /// their copies too.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be said that they are gone.
    async fn clear(&self, entry_type: Option<EntryType>) -> Result<u64>;

    async fn stats(&self) -> CacheStats;

    /// Writes what is still to be written, and ends.
    async fn stop(&self);
}

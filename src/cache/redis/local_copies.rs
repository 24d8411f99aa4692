//! Entries in this process' own memory, as copies of those in Redis. A copy is dropped when Redis reports that
//! another client has changed or removed the original. Independent of connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;

use super::format::parse_name;
use crate::cache::{
    memory::Memory,
    store::{CacheEntry, CacheKey, EntryType},
};

/// Keys share locks by their first byte; two keys that share one only wait for each other's copying.
const STRIPES: usize = 64;

pub(super) struct LocalCopies {
    memory: Arc<Memory>,
    /// How often the keys of a stripe have changed. Reading from Redis takes time, and what was read
    /// may have been changed meanwhile: a copy is only kept when the count is still what it was
    /// before the read.
    changes: [Mutex<u64>; STRIPES],
}

/// How often a key had changed when its reading began.
#[derive(Clone, Copy)]
pub(super) struct ChangeCount(u64);

impl LocalCopies {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { memory: Arc::new(Memory::new(max_bytes)), changes: std::array::from_fn(|_| Mutex::new(0)) }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<CacheEntry> {
        self.memory.get(key)
    }

    /// To be taken before Redis is asked, and given to `copy`.
    pub(super) fn mark(&self, key: &CacheKey) -> ChangeCount {
        ChangeCount(*self.stripe(key))
    }

    /// Keeps what Redis has answered, unless the key has changed since `mark`.
    pub(super) fn copy(&self, key: CacheKey, entry: CacheEntry, mark: ChangeCount) {
        let changes = self.stripe(&key);
        if *changes == mark.0 {
            self.memory.insert(&key, entry);
        }
    }

    /// Keeps what this process has made itself.
    pub(super) fn keep(&self, key: CacheKey, entry: CacheEntry) {
        let mut changes = self.stripe(&key);
        *changes += 1;
        self.memory.insert(&key, entry);
    }

    /// Forgets one kind, or everything.
    pub(super) fn forget_all(&self, entry_type: Option<EntryType>) {
        for stripe in &self.changes {
            *lock(stripe) += 1;
        }
        drop(self.memory.start_clearing(entry_type));
        // From here on nothing old is found; giving the room back takes a while.
        if let Ok(runtime) = Handle::try_current() {
            let memory = Arc::clone(&self.memory);
            runtime.spawn_blocking(move || memory.sweep());
        }
    }

    /// Does what a message of Redis asks for. Names that are not ours are not copied here either.
    pub(super) fn invalidate(&self, push: &PushInfo) {
        if push.kind != PushKind::Invalidate {
            return;
        }
        match push.data.first() {
            Some(Value::Array(names)) => {
                for name in names {
                    if let Value::BulkString(name) = name
                        && let Some(key) = parse_name(name)
                    {
                        self.forget(&key);
                    }
                }
            }
            // Redis was emptied by FLUSHALL or FLUSHDB.
            _ => self.forget_all(None),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.memory.bytes()
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.memory.peak_bytes()
    }

    fn forget(&self, key: &CacheKey) {
        let mut changes = self.stripe(key);
        *changes += 1;
        self.memory.remove(key);
    }

    fn stripe(&self, key: &CacheKey) -> MutexGuard<'_, u64> {
        lock(&self.changes[usize::from(key.hash[0]) % STRIPES])
    }
}

/// Locks a count, which stays consistent even if a thread panics while holding it.
fn lock(stripe: &Mutex<u64>) -> MutexGuard<'_, u64> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::cache::redis::format::name;

    const KEY: CacheKey = CacheKey { entry_type: EntryType::Chat, hash: [1; 32] };
    const OTHER: CacheKey = CacheKey { entry_type: EntryType::Embedding, hash: [2; 32] };

    fn entry(value: &'static str) -> CacheEntry {
        let now = SystemTime::now();
        CacheEntry { value: value.into(), stored_at: now, expires_at: now + Duration::from_secs(60) }
    }

    fn invalidation(key: &CacheKey) -> PushInfo {
        let names = Value::Array(vec![Value::BulkString(name(key).into_bytes())]);
        PushInfo { kind: PushKind::Invalidate, data: vec![names] }
    }

    fn value(local_copies: &LocalCopies, key: &CacheKey) -> Option<String> {
        local_copies.get(key).map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    #[test]
    fn an_invalidated_copy_is_gone_and_others_stay() {
        let local_copies = LocalCopies::new(1 << 20);
        local_copies.keep(KEY, entry("a"));
        local_copies.keep(OTHER, entry("b"));
        local_copies.invalidate(&invalidation(&KEY));
        assert_eq!((value(&local_copies, &KEY), value(&local_copies, &OTHER)), (None, Some("b".into())));
        local_copies.invalidate(&PushInfo { kind: PushKind::Invalidate, data: vec![Value::Nil] });
        assert_eq!(value(&local_copies, &OTHER), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let local_copies = LocalCopies::new(1 << 20);
        let old = local_copies.mark(&KEY);
        local_copies.invalidate(&invalidation(&KEY));
        local_copies.copy(KEY, entry("old"), old);
        assert_eq!(value(&local_copies, &KEY), None);

        let old = local_copies.mark(&KEY);
        local_copies.keep(KEY, entry("new"));
        local_copies.copy(KEY, entry("old"), old);
        assert_eq!(value(&local_copies, &KEY), Some("new".into()));

        let old = local_copies.mark(&OTHER);
        local_copies.forget_all(Some(EntryType::Embedding));
        local_copies.copy(OTHER, entry("old"), old);
        assert_eq!((value(&local_copies, &OTHER), value(&local_copies, &KEY)), (None, Some("new".into())));
    }

    #[test]
    fn what_was_read_without_a_change_is_kept() {
        let local_copies = LocalCopies::new(1 << 20);
        local_copies.copy(KEY, entry("a"), local_copies.mark(&KEY));
        assert_eq!(value(&local_copies, &KEY), Some("a".into()));
    }
}

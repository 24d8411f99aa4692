//! The entries this process keeps in its own memory, as copies of what is in Redis. A copy is
//! dropped when Redis says that somebody else has changed or removed the original. It knows nothing
//! of connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;

use super::format::parse_name;
use crate::cache::{
    memory::Memory,
    store::{Entry, Key, Kind},
};

/// Keys share locks by their first byte; two keys that share one only wait for each other's copying.
const STRIPES: usize = 64;

pub(super) struct Tier {
    memory: Arc<Memory>,
    /// How often the keys of a stripe have changed. Reading from Redis takes time, and what was read
    /// may have been changed meanwhile: a copy is only kept when the count is still what it was
    /// before the read.
    changes: [Mutex<u64>; STRIPES],
}

/// How often a key had changed when its reading began.
#[derive(Clone, Copy)]
pub(super) struct Mark(u64);

impl Tier {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { memory: Arc::new(Memory::new(max_bytes)), changes: std::array::from_fn(|_| Mutex::new(0)) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.memory.get(key)
    }

    /// To be taken before Redis is asked, and given to `copy`.
    pub(super) fn mark(&self, key: &Key) -> Mark {
        Mark(*self.stripe(key))
    }

    /// Keeps what Redis has answered, unless the key has changed since `mark`.
    pub(super) fn copy(&self, key: Key, entry: Entry, mark: Mark) {
        let changes = self.stripe(&key);
        if *changes == mark.0 {
            self.memory.insert(&key, entry);
        }
    }

    /// Keeps what this process has made itself.
    pub(super) fn keep(&self, key: Key, entry: Entry) {
        let mut changes = self.stripe(&key);
        *changes += 1;
        self.memory.insert(&key, entry);
    }

    /// Forgets one kind, or everything.
    pub(super) fn forget_all(&self, kind: Option<Kind>) {
        for stripe in &self.changes {
            *lock(stripe) += 1;
        }
        drop(self.memory.start_clearing(kind));
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

    fn forget(&self, key: &Key) {
        let mut changes = self.stripe(key);
        *changes += 1;
        self.memory.remove(key);
    }

    fn stripe(&self, key: &Key) -> MutexGuard<'_, u64> {
        lock(&self.changes[usize::from(key.hash[0]) % STRIPES])
    }
}

/// A count is whole whoever panicked while holding it.
fn lock(stripe: &Mutex<u64>) -> MutexGuard<'_, u64> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::cache::redis::format::name;

    const KEY: Key = Key { kind: Kind::Chat, hash: [1; 32] };
    const OTHER: Key = Key { kind: Kind::Embedding, hash: [2; 32] };

    fn entry(value: &'static str) -> Entry {
        let now = SystemTime::now();
        Entry { value: value.into(), stored_at: now, expires_at: now + Duration::from_secs(60) }
    }

    fn invalidation(key: &Key) -> PushInfo {
        let names = Value::Array(vec![Value::BulkString(name(key).into_bytes())]);
        PushInfo { kind: PushKind::Invalidate, data: vec![names] }
    }

    fn value(tier: &Tier, key: &Key) -> Option<String> {
        tier.get(key).map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    #[test]
    fn an_invalidated_copy_is_gone_and_others_stay() {
        let tier = Tier::new(1 << 20);
        tier.keep(KEY, entry("a"));
        tier.keep(OTHER, entry("b"));
        tier.invalidate(&invalidation(&KEY));
        assert_eq!((value(&tier, &KEY), value(&tier, &OTHER)), (None, Some("b".into())));
        tier.invalidate(&PushInfo { kind: PushKind::Invalidate, data: vec![Value::Nil] });
        assert_eq!(value(&tier, &OTHER), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let tier = Tier::new(1 << 20);
        let old = tier.mark(&KEY);
        tier.invalidate(&invalidation(&KEY));
        tier.copy(KEY, entry("old"), old);
        assert_eq!(value(&tier, &KEY), None);

        let old = tier.mark(&KEY);
        tier.keep(KEY, entry("new"));
        tier.copy(KEY, entry("old"), old);
        assert_eq!(value(&tier, &KEY), Some("new".into()));

        let old = tier.mark(&OTHER);
        tier.forget_all(Some(Kind::Embedding));
        tier.copy(OTHER, entry("old"), old);
        assert_eq!((value(&tier, &OTHER), value(&tier, &KEY)), (None, Some("new".into())));
    }

    #[test]
    fn what_was_read_without_a_change_is_kept() {
        let tier = Tier::new(1 << 20);
        tier.copy(KEY, entry("a"), tier.mark(&KEY));
        assert_eq!(value(&tier, &KEY), Some("a".into()));
    }
}

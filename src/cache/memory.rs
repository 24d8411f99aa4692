//! The layer in this process's memory that both stores keep in front of the slower one: bounded in
//! bytes, each entry with its own time to live, and never a stale answer after a clear. It knows
//! neither disk nor network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use moka::{Expiry, notification::RemovalCause, policy::EvictionPolicy, sync::Cache};

use super::store::{CacheEntry, CacheKey, EntryType};
use crate::types::PerType;

/// Bytes of an entry besides its value: key, reference counts, queue and timer nodes, table slot.
/// Measured with moka 0.12.16: 20,000 to 200,000 entries of 100 bytes each.
pub(super) const ENTRY_OVERHEAD_BYTES: u64 = 450;

/// How far in the future an entry may have been stored. Within it the clocks of two replicas may
/// differ and a clock may be corrected; beyond it the age of the entry cannot be known.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Longer than any sensible time to live, and short enough that no clock arithmetic overflows.
const LONGEST_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// An entry that begins now, or nothing when it would never be served.
pub(super) fn entry_from_now(value: Bytes, ttl: Duration) -> Option<CacheEntry> {
    let stored_at = SystemTime::now();
    let expires_at = stored_at.checked_add(ttl.min(LONGEST_TTL))?;
    (expires_at > stored_at).then_some(CacheEntry { value, stored_at, expires_at })
}

/// Whether an entry may be served at `now`, by the wall clock.
///
/// When the clock jumps forward, entries end early. When it jumps back by more than a minute,
/// entries stored "in the future" are misses, for a clock that was wrong by a year would otherwise
/// serve them for a year; they are kept, and served again once the clock is right again.
pub(super) fn is_fresh(entry: &CacheEntry, now: SystemTime) -> bool {
    let stored_by = now.checked_add(CLOCK_TOLERANCE).unwrap_or(now);
    entry.stored_at <= stored_by && now < entry.expires_at
}

/// The kinds that a clear names, `None` being all of them.
pub(super) fn types_of(only: Option<EntryType>) -> impl Iterator<Item = EntryType> {
    EntryType::ALL.into_iter().filter(move |entry_type| only.is_none_or(|only| only == *entry_type))
}

/// Entries in memory, the least recently used leaving first. Not TinyLFU, moka's default: that one
/// may refuse a new entry, and what was just put has to be found.
pub(super) struct Memory {
    entries: Cache<Slot, CacheEntry>,
    counters: Arc<PerType<TypeCounters>>,
    evictions: Arc<AtomicU64>,
    peak_bytes: AtomicU64,
}

/// Key of an entry in memory. A clear begins a new generation, and older ones are never looked up: a clear
/// takes effect at once, however many entries there are, even during writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    generation: u64,
    key: CacheKey,
}

/// Counters of one type.
#[derive(Default)]
struct TypeCounters {
    generation: AtomicU64,
    /// Clears that have begun and not ended.
    clearing: AtomicU64,
    /// Signed, because moka may report a removal before its insertion is counted.
    entries: AtomicI64,
}

/// The state of memory before the slower store was read: what is read from there may be promoted
/// only if no clear has come between. `None` for a kind that was being cleared.
pub(super) struct GenerationSnapshot(PerType<Option<u64>>);

/// A clear that is going on. Until it is dropped nothing read elsewhere is promoted, so it is held
/// until the slower store has been cleared too.
pub(super) struct Clearing {
    counters: Arc<PerType<TypeCounters>>,
    entry_type: Option<EntryType>,
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let counters = Arc::<PerType<TypeCounters>>::default();
        let evictions = Arc::<AtomicU64>::default();
        let (left, evicted) = (Arc::clone(&counters), Arc::clone(&evictions));
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, entry: &CacheEntry| {
                let bytes = entry.value.len() as u64 + ENTRY_OVERHEAD_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .expire_after(UntilExpiry)
            .eviction_listener(move |slot: Arc<Slot>, _, cause| {
                left[slot.key.entry_type].entries.fetch_sub(1, Ordering::Relaxed);
                if cause == RemovalCause::Size {
                    evicted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self { entries, counters, evictions, peak_bytes: AtomicU64::new(0) }
    }

    /// The entry if it is here and may be served now.
    pub(super) fn get(&self, key: &CacheKey) -> Option<CacheEntry> {
        self.entries.get(&self.slot(key)).filter(|entry| is_fresh(entry, SystemTime::now()))
    }

    /// Keeps a new entry. Its value should own its bytes: a slice of a larger buffer keeps all of it.
    pub(super) fn insert(&self, key: &CacheKey, entry: CacheEntry) {
        self.place(self.slot(key), entry);
    }

    /// To be taken before the slower store is read, for `promote` afterwards.
    pub(super) fn before_reading(&self) -> GenerationSnapshot {
        // The era first: whoever sees the era of a clear then also sees that it is going on, or
        // that it is over and what is read afterwards is not what it removed.
        GenerationSnapshot(PerType::new(|entry_type| {
            let counters = &self.counters[entry_type];
            let generation = counters.generation.load(Ordering::SeqCst);
            (counters.clearing.load(Ordering::SeqCst) == 0).then_some(generation)
        }))
    }

    /// Keeps an entry that was found in the slower store, unless it was cleared meanwhile or a newer
    /// one is here.
    pub(super) fn promote(&self, reading: &GenerationSnapshot, key: &CacheKey, entry: CacheEntry) {
        let slot = self.slot(key);
        if reading.0[key.entry_type] == Some(slot.generation) && !self.entries.contains_key(&slot) {
            self.place(slot, entry);
        }
    }

    /// Forgets one entry, for instance because another replica has replaced it.
    pub(super) fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(&self.slot(key));
    }

    /// Makes all entries of these kinds unreachable at once. `sweep` gives their memory back.
    pub(super) fn start_clearing(&self, entry_type: Option<EntryType>) -> Clearing {
        for entry_type in types_of(entry_type) {
            let counters = &self.counters[entry_type];
            counters.clearing.fetch_add(1, Ordering::SeqCst);
            counters.generation.fetch_add(1, Ordering::SeqCst);
        }
        Clearing { counters: Arc::clone(&self.counters), entry_type }
    }

    /// Frees what clears have made unreachable, and gives the keys of those that could have been
    /// served. It visits every entry (about 1 µs each), so it belongs on a blocking thread.
    pub(super) fn sweep(&self) -> Vec<CacheKey> {
        let now = SystemTime::now();
        let mut forgotten = Vec::new();
        for (slot, _) in &self.entries {
            let current = slot.generation == self.generation(slot.key.entry_type);
            if !current && self.entries.remove(&*slot).is_some_and(|entry| is_fresh(&entry, now)) {
                forgotten.push(slot.key);
            }
        }
        self.entries.run_pending_tasks();
        forgotten
    }

    /// Bytes held now. It first does what moka has put off, so that the figure is right.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.note_peak()
    }

    /// The most bytes there have been.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// Entries by type.
    pub(super) fn entries(&self) -> PerType<u64> {
        PerType::new(|entry_type| {
            let count = self.counters[entry_type].entries.load(Ordering::Relaxed);
            u64::try_from(count).unwrap_or(0)
        })
    }

    /// Entries that left memory for want of room; the slower store may still have them.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn generation(&self, entry_type: EntryType) -> u64 {
        self.counters[entry_type].generation.load(Ordering::SeqCst)
    }

    fn slot(&self, key: &CacheKey) -> Slot {
        Slot { generation: self.generation(key.entry_type), key: *key }
    }

    fn place(&self, slot: Slot, entry: CacheEntry) {
        self.counters[slot.key.entry_type].entries.fetch_add(1, Ordering::Relaxed);
        self.entries.insert(slot, entry);
        self.note_peak();
    }

    fn note_peak(&self) -> u64 {
        let bytes = self.entries.weighted_size();
        // Reading first keeps the cache line shared between cores while there is no new peak.
        if bytes > self.peak_bytes.load(Ordering::Relaxed) {
            self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
        bytes
    }
}

impl Drop for Clearing {
    fn drop(&mut self) {
        for entry_type in types_of(self.entry_type) {
            self.counters[entry_type].clearing.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Gives moka what is left of an entry's time. moka counts it by the monotonic clock, so an entry
/// also ends when the wall clock stands still or goes back.
struct UntilExpiry;

impl Expiry<Slot, CacheEntry> for UntilExpiry {
    fn expire_after_create(&self, _: &Slot, entry: &CacheEntry, _: Instant) -> Option<Duration> {
        Some(left(entry))
    }

    fn expire_after_update(
        &self,
        _: &Slot,
        entry: &CacheEntry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(left(entry))
    }
}

fn left(entry: &CacheEntry) -> Duration {
    entry.expires_at.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(entry_type: EntryType, number: u64) -> CacheKey {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        CacheKey { entry_type, hash }
    }

    fn entry(bytes: usize, ttl: Duration) -> CacheEntry {
        entry_from_now(Bytes::from(vec![7; bytes]), ttl).expect("a time to live")
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_entry_is_fresh_between_its_ends() {
        let entry = entry(1, HOUR);
        let (stored, ends) = (entry.stored_at, entry.expires_at);
        for (now, fresh) in [
            (stored, true),
            (ends - Duration::from_millis(1), true),
            (ends, false),
            (ends + HOUR, false),
            (stored - Duration::from_secs(59), true),
            (stored - Duration::from_secs(61), false),
            (SystemTime::UNIX_EPOCH, false),
        ] {
            assert_eq!(is_fresh(&entry, now), fresh, "{now:?}");
        }
    }

    #[test]
    fn no_time_to_live_overflows_and_none_is_no_entry() {
        assert!(entry_from_now(Bytes::new(), Duration::ZERO).is_none());
        let memory = Memory::new(10_000);
        memory.insert(&key(EntryType::Chat, 1), entry(1, Duration::MAX));
        assert!(memory.get(&key(EntryType::Chat, 1)).is_some());
    }

    #[test]
    fn the_newest_entries_stay_within_the_bound_and_are_counted() {
        let memory = Memory::new(100_000);
        for number in 0..5_000 {
            memory.insert(&key(EntryType::Chat, number), entry(550, HOUR));
            assert!(memory.get(&key(EntryType::Chat, number)).is_some(), "just put: {number}");
        }
        assert!(memory.bytes() <= 100_000, "{}", memory.bytes());
        assert!(memory.peak_bytes() >= memory.bytes());
        let kept = memory.bytes() / (550 + ENTRY_OVERHEAD_BYTES);
        assert_eq!(memory.entries(), PerType::from([(EntryType::Chat, kept)]));
        assert_eq!(memory.evictions(), 5_000 - kept);
        memory.insert(&key(EntryType::Chat, 4_999), entry(550, HOUR));
        assert_eq!(
            (memory.bytes(), memory.entries()[EntryType::Chat]),
            (kept * 1_000, kept),
            "replaced, not added"
        );
    }

    #[test]
    fn a_clear_is_complete_and_what_was_read_before_it_is_not_promoted() {
        let memory = Memory::new(100_000);
        let (chat, vision) = (key(EntryType::Chat, 1), key(EntryType::Vision, 1));
        memory.insert(&chat, entry(1, HOUR));
        memory.insert(&vision, entry(1, HOUR));

        let before = memory.before_reading();
        let clearing = memory.start_clearing(Some(EntryType::Chat));
        let during = memory.before_reading();
        assert!(memory.get(&chat).is_none() && memory.get(&vision).is_some());
        memory.promote(&before, &chat, entry(1, HOUR));
        memory.promote(&during, &chat, entry(1, HOUR));
        assert_eq!(memory.sweep(), [chat]);
        drop(clearing);
        memory.promote(&before, &chat, entry(1, HOUR));
        memory.promote(&during, &chat, entry(1, HOUR));
        assert!(memory.get(&chat).is_none());

        memory.promote(&memory.before_reading(), &chat, entry(1, HOUR));
        assert!(memory.get(&chat).is_some());
        assert_eq!(memory.entries(), PerType::from([(EntryType::Chat, 1), (EntryType::Vision, 1)]));
        drop(memory.start_clearing(None));
        assert_eq!(memory.sweep().len(), 2);
        assert_eq!((memory.bytes(), memory.entries()), (0, PerType::default()));
    }

    #[test]
    fn a_promoted_entry_does_not_replace_a_newer_one() {
        let memory = Memory::new(100_000);
        let chat = key(EntryType::Chat, 1);
        let reading = memory.before_reading();
        memory.insert(&chat, entry(2, HOUR));
        memory.promote(&reading, &chat, entry(1, HOUR));
        assert_eq!(memory.get(&chat).map(|entry| entry.value.len()), Some(2));
        memory.remove(&chat);
        assert!(memory.get(&chat).is_none());
    }
}

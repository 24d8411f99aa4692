//! The embedded store on real files: what it keeps, what it lets go, and what it survives.

mod faults;
mod filter;

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::{eventually::eventually, types::PerType};

const MB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);
const FILE: &str = "responses.db";

fn key(entry_type: EntryType, number: u64) -> CacheKey {
    let mut hash = [number as u8; 32];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    hash[8..16].copy_from_slice(&number.to_be_bytes());
    CacheKey { entry_type, hash }
}

fn value(number: u64, bytes: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(bytes.max(8), number as u8);
    Bytes::from(value)
}

async fn open(folder: &TempDir) -> Sqlite {
    Sqlite::open(folder.path(), 16 * MB, 64 * MB).await.expect("a store")
}

/// The same entries as another process would find them: nothing is in memory.
async fn reopen(folder: &TempDir, store: Sqlite) -> Sqlite {
    store.stop().await;
    drop(store);
    open(folder).await
}

async fn get(store: &Sqlite, key: CacheKey) -> Option<Bytes> {
    store.get(&[key]).await.remove(0).map(|entry| entry.value)
}

/// Waits until the queue is written.
async fn settle(store: &Sqlite) {
    let disk = store.disk.as_ref().expect("a disk");
    until("the queue is empty", async || disk.disk_status.queued_bytes.load(Ordering::Relaxed) == 0).await;
}

async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    eventually(Duration::from_secs(20), what, condition).await;
}

fn set_aside(folder: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.to_string_lossy().contains(".damaged-")).collect()
}

#[tokio::test]
async fn an_entry_is_found_at_once_and_after_a_restart() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let chat = key(EntryType::Chat, 1);
    store.put(chat, value(1, 3_000), HOUR);
    let put = store.get_now(&chat).expect("in memory");
    assert_eq!(store.get(&[chat]).await, [Some(put.clone())]);

    let store = reopen(&folder, store).await;
    assert_eq!(store.get_now(&chat), None);
    let read = store.get(&[chat]).await.remove(0).expect("on disk");
    assert_eq!(read.value, put.value);
    let rounded = put.expires_at.duration_since(read.expires_at).expect("rounded down");
    assert!(rounded < Duration::from_millis(1), "{rounded:?}");
    assert_eq!(store.get_now(&chat), Some(read), "promoted");
    assert_eq!(get(&store, key(EntryType::Vision, 1)).await, None, "the same hash, another kind");

    store.put(chat, value(2, 5_000), HOUR);
    let store = reopen(&folder, store).await;
    assert_eq!(get(&store, chat).await, Some(value(2, 5_000)), "replaced");
    assert_eq!(store.stats().await.entries, PerType::from([(EntryType::Chat, 1)]));
}

#[tokio::test]
async fn a_large_batch_comes_back_in_its_order() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    for number in (0..2_048).filter(|number| number % 3 != 0) {
        store.put(key(EntryType::Embedding, number), value(number, 100), HOUR);
    }
    let store = reopen(&folder, store).await;
    for number in (0..2_048).filter(|number| number % 5 == 1) {
        store.put(key(EntryType::Embedding, number), value(number, 200), HOUR);
    }
    let mut numbers: Vec<u64> = (0..2_048).rev().collect();
    numbers.extend([7, 7, 9]);
    let keys: Vec<CacheKey> = numbers.iter().map(|number| key(EntryType::Embedding, *number)).collect();
    let found: Vec<Option<Bytes>> =
        store.get(&keys).await.into_iter().map(|entry| entry.map(|entry| entry.value)).collect();
    let expected: Vec<Option<Bytes>> = numbers
        .iter()
        .map(|number| match (number % 5, number % 3) {
            (1, _) => Some(value(*number, 200)),
            (_, 0) => None,
            _ => Some(value(*number, 100)),
        })
        .collect();
    assert_eq!(found, expected);
    assert!(store.get(&[]).await.is_empty());
}

#[tokio::test]
async fn what_is_over_is_not_found_and_leaves_the_file() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let (short, long) = (key(EntryType::Chat, 1), key(EntryType::Chat, 2));
    store.put(short, value(1, 10), Duration::from_millis(150));
    store.put(long, value(2, 10), HOUR);
    store.put(key(EntryType::Chat, 3), value(3, 10), Duration::ZERO);
    assert!(get(&store, short).await.is_some());
    until("it is over", async || store.get_now(&short).is_none()).await;
    settle(&store).await;
    assert_eq!(get(&store, short).await, None, "not from the file either");
    assert_eq!(store.stats().await.entries[EntryType::Chat], 2, "still a row");

    // Upkeep comes right after a start.
    let store = reopen(&folder, store).await;
    until("the row is gone", async || store.stats().await.entries[EntryType::Chat] == 1).await;
    assert!(get(&store, long).await.is_some());
    assert_eq!(store.stats().await.evictions, 0, "no eviction");
}

#[tokio::test]
async fn an_entry_from_the_future_waits_until_the_clock_is_right() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let now = SystemTime::now();
    let entry = |offset: Duration| CacheEntry {
        value: value(1, 10),
        stored_at: now + offset,
        expires_at: now + offset + HOUR,
    };
    let (near, far) = (key(EntryType::Chat, 1), key(EntryType::Chat, 2));
    store.put_entry(near, entry(Duration::from_secs(5)));
    store.put_entry(far, entry(24 * HOUR));
    assert!(get(&store, near).await.is_some() && get(&store, far).await.is_none());
    let store = reopen(&folder, store).await;
    assert!(get(&store, near).await.is_some() && get(&store, far).await.is_none());
    assert_eq!(store.stats().await.entries[EntryType::Chat], 2, "kept");
    store.put(far, value(9, 10), HOUR);
    let store = reopen(&folder, store).await;
    assert_eq!(get(&store, far).await, Some(value(9, 10)), "a new one takes its place");
}

/// A copy of the files while the store is open is what kill -9 leaves behind.
#[tokio::test]
async fn what_is_written_survives_a_kill() {
    let (folder, killed) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let store = open(&folder).await;
    for number in 0..500 {
        store.put(key(EntryType::Chat, number), value(number, 1_000), HOUR);
    }
    settle(&store).await;
    for name in [FILE, "responses.db-wal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).expect("a copy");
    }
    // The last frame of the log is cut off, as by a kill in the middle of a write.
    store.put(key(EntryType::Chat, 1_000), value(0, 1_000), HOUR);
    settle(&store).await;
    let log = fs::read(folder.path().join("responses.db-wal")).expect("the log");
    fs::write(killed.path().join("responses.db-wal"), &log[..log.len() - 100]).expect("a cut log");

    let survivor = open(&killed).await;
    for number in 0..500 {
        assert_eq!(
            get(&survivor, key(EntryType::Chat, number)).await,
            Some(value(number, 1_000)),
            "{number}"
        );
    }
    assert_eq!(survivor.stats().await.entries, PerType::from([(EntryType::Chat, 500)]));
    assert!(set_aside(&killed).is_empty());
}

#[tokio::test]
async fn memory_and_disk_stay_within_their_bounds() {
    let folder = TempDir::new().expect("a folder");
    let (memory_bytes, disk_bytes) = (4 * MB, 8 * MB);
    let store = Sqlite::open(folder.path(), memory_bytes, disk_bytes).await.expect("a store");
    let (kept, lost) = (key(EntryType::Vision, 1), key(EntryType::Vision, 2));
    store.put(kept, value(1, 1_000), 2 * HOUR);
    store.put(lost, value(2, 1_000), 2 * HOUR);
    for number in 0..20_000 {
        // 3,000 bytes twice: 120 MB of entries of a page each, in turn with short ones.
        store.put(
            key(EntryType::Chat, number),
            value(number, if number % 3 == 0 { 3_000 } else { 300 }),
            HOUR,
        );
        if number % 250 == 0 {
            settle(&store).await;
            // Out of memory, so that it is read from disk, which is a use.
            store.memory.remove(&kept);
            assert!(get(&store, kept).await.is_some(), "used at {number}");
            let stats = store.stats().await;
            assert!(stats.stored_bytes <= disk_bytes, "{number}: {} on disk", stats.stored_bytes);
            assert!(stats.memory_bytes <= memory_bytes, "{number}: {} in memory", stats.memory_bytes);
        }
    }
    settle(&store).await;
    let stats = store.stats().await;
    assert!(stats.memory_peak_bytes <= memory_bytes + MB, "{}", stats.memory_peak_bytes);
    let rows: u64 = stats.entries.sum();
    assert_eq!(rows + stats.evictions, 20_002, "{stats:?}");
    assert!(rows > 2_000 && stats.stored_bytes > disk_bytes / 2, "{stats:?}");
    store.memory.remove(&lost);
    assert_eq!(get(&store, lost).await, None, "not used for the longest");

    store.stop().await;
    let store = Sqlite::open(folder.path(), memory_bytes, 2 * MB).await.expect("a smaller store");
    until("the file shrinks", async || store.stats().await.stored_bytes <= 2 * MB).await;
    assert!(get(&store, key(EntryType::Chat, 19_999)).await.is_some(), "the newest stays");
}

#[tokio::test]
async fn an_entry_too_large_for_the_file_is_kept_in_memory() {
    let folder = TempDir::new().expect("a folder");
    let store = Sqlite::open(folder.path(), 16 * MB, 4 * MB).await.expect("a store");
    let chat = key(EntryType::Chat, 1);
    store.put(chat, value(1, MB as usize), HOUR);
    assert!(get(&store, chat).await.is_some());
    assert_eq!(store.stats().await.evictions, 1);
}

#[tokio::test]
async fn a_clear_reaches_memory_file_and_queue() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    for number in 0..1_000 {
        store.put(key(EntryType::Chat, number), value(number, 100), HOUR);
        store.put(key(EntryType::Vision, number), value(number, 100), HOUR);
    }
    let store = reopen(&folder, store).await;
    for number in 500..1_500 {
        // Some are on disk only, some in both, some still in the queue.
        store.put(key(EntryType::Chat, number), value(number, 100), HOUR);
    }
    assert_eq!(store.clear(Some(EntryType::Chat)).await.expect("cleared"), 1_500);
    assert_eq!(store.clear(Some(EntryType::Chat)).await.expect("cleared"), 0);
    store.put(key(EntryType::Chat, 1), value(7, 100), HOUR);
    assert_eq!(store.stats().await.entries[EntryType::Vision], 1_000, "no other kind");

    let store = reopen(&folder, store).await;
    for number in [0, 499, 500, 999, 1_000, 1_499] {
        assert_eq!(get(&store, key(EntryType::Chat, number)).await, None, "{number}");
    }
    assert_eq!(get(&store, key(EntryType::Chat, 1)).await, Some(value(7, 100)), "put after the clear");
    assert!(get(&store, key(EntryType::Vision, 3)).await.is_some());

    store.put(key(EntryType::Embedding, 1), value(1, 100), HOUR);
    assert_eq!(store.clear(None).await.expect("cleared"), 1_002);
    store.put(key(EntryType::Inference, 1), value(1, 100), HOUR);
    assert_eq!(get(&store, key(EntryType::Vision, 3)).await, None);
    let store = reopen(&folder, store).await;
    assert_eq!(store.stats().await.entries, PerType::from([(EntryType::Inference, 1)]));
    assert!(store.stats().await.stored_bytes < MB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_see_whole_entries_and_no_cleared_one() {
    let folder = TempDir::new().expect("a folder");
    // Memory for a few entries only, so that most reads go to the file.
    let store = Arc::new(Sqlite::open(folder.path(), 200_000, 64 * MB).await.expect("a store"));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..400 {
                    let number = task * 1_000 + round;
                    store.put(key(EntryType::Chat, number), value(number, 500), HOUR);
                    for other in [number, number / 2, number.saturating_sub(50)] {
                        if let Some(found) = get(&store, key(EntryType::Chat, other)).await {
                            assert_eq!(found, value(other, 500));
                        }
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut cleared = 0;
    while !tasks.iter().all(JoinHandle::is_finished) {
        cleared += store.clear(Some(EntryType::Chat)).await.expect("cleared");
    }
    for task in tasks {
        task.await.expect("no surprise");
    }
    settle(&store).await;
    cleared += store.clear(None).await.expect("cleared");
    assert!(cleared > 0);
    for number in 0..8_000 {
        assert!(store.get_now(&key(EntryType::Chat, number)).is_none());
    }
    let keys: Vec<CacheKey> = (0..8_000).map(|number| key(EntryType::Chat, number)).collect();
    assert!(store.get(&keys).await.iter().all(Option::is_none));
    assert_eq!(store.stats().await.entries, PerType::default());
    assert_eq!(store.stats().await.errors, 0);
}

#[tokio::test]
async fn without_a_disk_memory_does_it_all() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.put(key(EntryType::Chat, 1), value(1, 10), HOUR);
    store.stop().await;
    let store = Sqlite::open(folder.path(), MB, 0).await.expect("a store");
    assert!(!folder.path().join(FILE).exists(), "or a clear would not reach it");
    store.put(key(EntryType::Chat, 2), value(2, 10), HOUR);
    assert_eq!(get(&store, key(EntryType::Chat, 2)).await, Some(value(2, 10)));
    assert_eq!(store.clear(None).await.expect("cleared"), 1);
    store.stop().await;
    assert_eq!(store.stats().await.status, "available");
}

#[tokio::test]
async fn after_a_stop_it_still_answers_from_memory() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    store.put(key(EntryType::Chat, 1), value(1, 10), HOUR);
    store.stop().await;
    store.stop().await;
    store.put(key(EntryType::Chat, 2), value(2, 10), HOUR);
    assert!(get(&store, key(EntryType::Chat, 1)).await.is_some());
    assert!(get(&store, key(EntryType::Chat, 2)).await.is_some());
    assert!(get(&store, key(EntryType::Chat, 3)).await.is_none());
    assert!(store.clear(None).await.is_err());
}

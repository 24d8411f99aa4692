//! Keys that are not in the file cost no access to it, and keys that are in it are always found.

use super::*;

/// Whether the file would be asked for this key; nothing while it is not known what is in it.
fn may_have(store: &Sqlite, key: CacheKey) -> Option<bool> {
    let opening = store.disk.as_ref()?.disk_status.opening()?;
    Some(opening.filter?.may_have(&key.hash))
}

async fn known(store: &Sqlite) {
    until("it is known what is in the file", async || may_have(store, key(EntryType::Chat, 0)).is_some())
        .await;
}

#[tokio::test]
async fn what_is_not_in_the_file_is_not_looked_for() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    known(&store).await;
    store.put(key(EntryType::Chat, 1), value(1, 100), HOUR);
    let store = reopen(&folder, store).await;
    known(&store).await;
    // The next lookup notices.
    fs::write(folder.path().join(FILE), b"this is not a database".repeat(1_000)).expect("garbage");
    for number in 2..100 {
        assert_eq!(get(&store, key(EntryType::Chat, number)).await, None);
    }
    assert_eq!(store.stats().await.errors, 0, "nobody has looked");
    assert_eq!(get(&store, key(EntryType::Chat, 1)).await, None);
    assert!(store.stats().await.errors > 0);
    until("it is set aside", async || set_aside(&folder).len() == 1).await;
    until("the new one is empty", async || may_have(&store, key(EntryType::Chat, 1)) == Some(false)).await;
}

#[tokio::test]
async fn what_is_in_the_file_is_found_before_and_after_it_is_known() {
    let folder = TempDir::new().expect("a folder");
    let mut store = open(&folder).await;
    for number in 0..5_000 {
        store.put(key(EntryType::Chat, number), value(number, 30), HOUR);
    }
    for wait in [false, true] {
        store = reopen(&folder, store).await;
        if wait {
            known(&store).await;
        }
        for number in 0..5_000 {
            assert_eq!(get(&store, key(EntryType::Chat, number)).await, Some(value(number, 30)), "{number}");
        }
    }
    // A cleared one that is put again is another row with the same key.
    assert_eq!(store.clear(Some(EntryType::Chat)).await.expect("cleared"), 5_000);
    store.put(key(EntryType::Chat, 7), value(8, 30), HOUR);
    let store = reopen(&folder, store).await;
    known(&store).await;
    assert_eq!(get(&store, key(EntryType::Chat, 7)).await, Some(value(8, 30)));
    assert_eq!(may_have(&store, key(EntryType::Chat, 8)), Some(false), "what is swept is forgotten");
}

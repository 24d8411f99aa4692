//! Bad days: the file is damaged, the disk is full, the file cannot be opened.

use std::io::{Seek, SeekFrom, Write};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::*;

#[tokio::test]
async fn a_file_that_cannot_be_read_is_set_aside() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(FILE);
    let store = open(&folder).await;
    for number in 0..2_000 {
        store.put(key(EntryType::Chat, number), value(number, 500), HOUR);
    }
    store.stop().await;
    let good = fs::read(&path).expect("the file");
    let foreign = folder.path().join("foreign.db");
    for (at, sql) in ["CREATE TABLE other (a)", "PRAGMA user_version = 99"].into_iter().enumerate() {
        fs::write(&foreign, if at == 0 { &[][..] } else { &good[..] }).expect("a file");
        run(&foreign, sql).await;
        fs::copy(&foreign, folder.path().join(format!("case{at}"))).expect("a copy");
    }
    let cases = [
        ("garbage", b"this is not a database".repeat(1_000)),
        ("a few bytes", b"SQLite".to_vec()),
        ("half the file", good[..good.len() / 2].to_vec()),
        ("only the header", good[..200].to_vec()),
        ("zeros in the schema", [&good[..100], &[0; 8_000], &good[8_100..]].concat()),
        ("another program's", fs::read(folder.path().join("case0")).expect("a case")),
        ("another version's", fs::read(folder.path().join("case1")).expect("a case")),
    ];
    for (what, bytes) in cases {
        fs::write(&path, &bytes).expect(what);
        let store = open(&folder).await;
        // Half a file may only show its damage when it is read.
        for number in 0..2_000 {
            get(&store, key(EntryType::Chat, number)).await;
        }
        until(what, async || set_aside(&folder).len() == 1).await;
        assert_eq!(fs::read(&set_aside(&folder)[0]).expect("set aside").len(), bytes.len(), "{what}");
        let again = key(EntryType::Vision, 1);
        store.put(again, value(1, 100), HOUR);
        until(what, async || store.stats().await.status == "available").await;
        let store = reopen(&folder, store).await;
        assert_eq!(get(&store, again).await, Some(value(1, 100)), "{what}");
        store.stop().await;
    }
}

#[tokio::test]
async fn an_older_damaged_file_makes_room_for_the_newer() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("responses.db.damaged-20200101T000000Z"), "old").expect("an old one");
    fs::write(folder.path().join(FILE), b"new garbage".repeat(100)).expect("garbage");
    open(&folder).await.stop().await;
    let aside = set_aside(&folder);
    assert_eq!(aside.len(), 1);
    assert!(fs::read(&aside[0]).expect("the newer").starts_with(b"new garbage"));
}

async fn run(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a database");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn damage_under_a_running_store_costs_only_the_file() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    for number in 0..3_000 {
        store.put(key(EntryType::Chat, number), value(number, 1_000), HOUR);
    }
    let store = reopen(&folder, store).await;
    let mut file = fs::File::options().write(true).open(folder.path().join(FILE)).expect("the file");
    let length = file.metadata().expect("its length").len();
    file.seek(SeekFrom::Start(4_096)).expect("the second page");
    file.write_all(&vec![0x5a; length as usize - 4_096]).expect("damage");

    let new = key(EntryType::Vision, 1);
    let mut number = 0;
    until("it is set aside", async || {
        number += 1;
        get(&store, key(EntryType::Chat, number)).await;
        set_aside(&folder).len() == 1
    })
    .await;
    store.put(new, value(1, 10), HOUR);
    assert_eq!(get(&store, new).await, Some(value(1, 10)));
    let stats = store.stats().await;
    assert!(stats.errors > 0 && stats.status == "available", "{stats:?}");
    let store = reopen(&folder, store).await;
    assert_eq!(get(&store, new).await, Some(value(1, 10)), "written to the new file");
    assert_eq!(set_aside(&folder).len(), 1);
}

/// SQLite does not see a changed bit inside a value: we do.
#[tokio::test]
async fn a_changed_value_is_a_miss() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder).await;
    let (bad, good) = (key(EntryType::Chat, 1), key(EntryType::Chat, 2));
    store.put(bad, Bytes::from_static(b"the answer is yes, in many words"), HOUR);
    store.put(good, value(2, 100), HOUR);
    store.stop().await;
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).expect("the file");
    let at = bytes.windows(9).position(|window| window == b"is yes, i").expect("the value");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("a changed file");
    let store = open(&folder).await;
    assert_eq!(get(&store, bad).await, None);
    assert_eq!(get(&store, good).await, Some(value(2, 100)));
    assert_eq!(store.stats().await.errors, 1);
}

/// A limit on pages fails as a full disk does (SQLITE_FULL). It belongs to the connection, and the
/// writer makes a new one after a failure: then there is room again.
#[tokio::test]
async fn a_full_disk_is_said_and_recovers_by_itself() {
    let folder = TempDir::new().expect("a folder");
    let file = DatabaseFile::new(folder.path(), 64 * MB);
    let mut opened = file.open().await.expect("a file");
    let limit = "PRAGMA max_page_count = 40";
    sqlx::query(limit).fetch_one(&mut opened.database.writing).await.expect("a limit");
    let store = Sqlite::over(file, Ok(opened), 16 * MB).await;
    for number in 0..200 {
        store.put(key(EntryType::Chat, number), value(number, 4_000), HOUR);
    }
    until("it is said", async || store.stats().await.status.contains("the disk is full")).await;
    assert!(store.stats().await.errors > 0);
    for number in 0..200 {
        assert_eq!(
            get(&store, key(EntryType::Chat, number)).await,
            Some(value(number, 4_000)),
            "from memory"
        );
    }
    until("it recovers without a request", async || store.stats().await.status == "available").await;
    store.put(key(EntryType::Vision, 1), value(1, 4_000), HOUR);
    let store = reopen(&folder, store).await;
    assert_eq!(get(&store, key(EntryType::Vision, 1)).await, Some(value(1, 4_000)));
    assert_eq!(get(&store, key(EntryType::Chat, 0)).await, Some(value(0, 4_000)), "the batch that failed");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_leaves_memory() {
    let folder = TempDir::new().expect("a folder");
    // A folder in the file's place can neither be opened nor be taken for a damaged file.
    fs::create_dir(folder.path().join(FILE)).expect("a folder");
    let store = open(&folder).await;
    let chat = key(EntryType::Chat, 1);
    store.put(chat, value(1, 10), HOUR);
    assert_eq!(get(&store, chat).await, Some(value(1, 10)));
    assert_ne!(store.stats().await.status, "available");
    let error = store.clear(Some(EntryType::Chat)).await.expect_err("it cannot be said what is in the file");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(get(&store, chat).await, None);
    fs::remove_dir(folder.path().join(FILE)).expect("out of the way");
    until("it recovers", async || store.stats().await.status == "available").await;
    store.put(chat, value(2, 10), HOUR);
    let store = reopen(&folder, store).await;
    assert_eq!(get(&store, chat).await, Some(value(2, 10)));
}

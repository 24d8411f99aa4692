//! Tests of the store: owners, conversations, retention, and the limits of its file.

use tempfile::TempDir;

use super::*;

const ME: Principal = Principal::new([1; 32]);
const OTHER: Principal = Principal::new([2; 32]);

/// A store in a new folder, which holds so many megabytes.
fn store(megabytes: u64) -> (TempDir, Responses) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Responses::over(file(folder.path()), megabytes * MEGABYTE);
    (folder, store)
}

fn id(number: u128) -> ResponseId {
    ResponseId(number)
}

fn response(number: u128, previous: Option<u128>, text: &str) -> StoredResponse {
    StoredResponse {
        id: id(number),
        previous: previous.map(id),
        is_finished: true,
        input: format!("[\"{text}\"]"),
        body: "{}".to_owned(),
    }
}

async fn ids(store: &Responses, number: u128) -> Vec<ResponseId> {
    match store.chain(&ME, id(number), usize::MAX).await.expect("read") {
        Chain::Complete(chain) => chain.into_iter().map(|response| response.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_read_as_they_are_written() {
    let made = ResponseId::random().expect("random");
    assert_eq!(ResponseId::parse(&made.to_string()), Some(made));
    assert_eq!(id(10).to_string(), "resp_0000000000000000000000000000000a");
    let wrong = [
        "",
        "resp_",
        "resp_1",
        "resp_0000000000000000000000000000000A",
        "msg_0000000000000000000000000000000a",
    ];
    assert!(wrong.iter().all(|text| ResponseId::parse(text).is_none()));
}

#[tokio::test]
async fn a_response_is_for_the_key_that_made_it() {
    let (_folder, store) = store(10);
    let first = response(1, None, "a");
    store.put(&ME, &first).await.expect("stored");
    assert_eq!(store.get(&ME, id(1)).await.expect("read"), Some(first));
    assert_eq!(store.get(&OTHER, id(1)).await.expect("read"), None);
    assert_eq!(store.chain(&OTHER, id(1), 1000).await.expect("read"), Chain::Missing(id(1)));
    assert!(!store.delete(&OTHER, id(1)).await.expect("read"));
    store.finish(&OTHER, id(1), "changed").await.expect("nothing");
    // A conversation of another key is not joined.
    store.put(&OTHER, &response(2, Some(1), "b")).await.expect("stored");
    assert_eq!(store.chain(&OTHER, id(2), 1000).await.expect("read"), Chain::Missing(id(1)));
    assert!(store.delete(&ME, id(1)).await.expect("deleted"));
    assert!(!store.delete(&ME, id(1)).await.expect("gone"));
    assert!(store.get(&OTHER, id(2)).await.expect("read").is_some());
}

#[tokio::test]
async fn a_conversation_is_read_from_its_beginning() {
    let (_folder, store) = store(10);
    for (number, previous) in [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1))] {
        store.put(&ME, &response(number, previous, "a")).await.expect("stored");
    }
    assert_eq!(ids(&store, 3).await, [id(1), id(2), id(3)]);
    assert_eq!(ids(&store, 4).await, [id(1), id(4)]);
    let bytes = response(1, None, "a").input.len() + 2;
    assert!(matches!(store.chain(&ME, id(3), 3 * bytes).await, Ok(Chain::Complete(_))));
    assert_eq!(store.chain(&ME, id(3), 3 * bytes - 1).await.expect("read"), Chain::TooLarge);
    store.delete(&ME, id(2)).await.expect("deleted");
    assert_eq!(store.chain(&ME, id(3), 1000).await.expect("read"), Chain::Missing(id(2)));
    assert_eq!(ids(&store, 4).await, [id(1), id(4)]);
}

#[tokio::test]
async fn only_what_is_not_finished_is_finished() {
    let (_folder, store) = store(10);
    store.put(&ME, &StoredResponse { is_finished: false, ..response(1, None, "a") }).await.expect("stored");
    for (body, expected) in [("\"first\"", "\"first\""), ("\"second\"", "\"first\"")] {
        store.finish(&ME, id(1), body).await.expect("written");
        let found = store.get(&ME, id(1)).await.expect("read").expect("there");
        assert_eq!((&*found.body, found.is_finished), (expected, true));
    }
}

#[tokio::test]
async fn a_conversation_expires_after_its_newest_response() {
    let (_folder, store) = store(10);
    let day = 24 * 3600;
    for (number, previous, days) in [(1, None, 31), (2, None, 31), (3, Some(2), 29)] {
        let mut connection = store.connection().await.expect("open");
        let response = response(number, previous, "a");
        tables::put(&mut connection, &ME, &response, now() - days * day, u64::MAX).await.expect("stored");
    }
    assert_eq!(store.get(&ME, id(1)).await.expect("read"), None, "expired, but not removed yet");
    assert!(!store.delete(&ME, id(1)).await.expect("read"));
    store.expire().await.expect("removed");
    let count = "SELECT count(*) FROM response";
    let left: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut *store.connection().await.expect("open"))
        .await
        .expect("read");
    assert_eq!(left, 2);
    assert_eq!(ids(&store, 3).await, [id(2), id(3)]);
}

#[tokio::test]
async fn the_conversation_that_is_unused_the_longest_makes_room() {
    let (_folder, store) = store(1);
    let text = "a".repeat(100_000);
    for number in 1..=4 {
        store.put(&ME, &response(number, None, &text)).await.expect("stored");
    }
    // The first one is used again.
    let mut connection = store.connection().await.expect("open");
    tables::put(&mut connection, &ME, &response(5, Some(1), "b"), now() + 3600, u64::MAX)
        .await
        .expect("stored");
    drop(connection);
    for number in 6..=20 {
        store.put(&ME, &response(number, None, &text)).await.expect("stored");
        let mut connection = store.connection().await.expect("open");
        let later = sqlx::query("UPDATE conversation SET used_at = ?1 WHERE used_at < ?1 AND id > 4");
        later.bind(now() + 1).execute(&mut *connection).await.expect("set");
    }
    assert_eq!(ids(&store, 5).await, [id(1), id(5)], "used last");
    assert_eq!(ids(&store, 20).await, [id(20)], "just stored");
    for number in 2..=4 {
        assert_eq!(store.get(&ME, id(number)).await.expect("read"), None, "{number}");
    }
    assert!(store.database.file.bytes().await < 6 * MEGABYTE);
    let error = store.put(&ME, &response(21, None, &"a".repeat(600_000))).await.expect_err("too large");
    assert_eq!(error.kind(), Kind::TooLarge);
    assert_eq!(ids(&store, 20).await, [id(20)], "and nothing is removed for it");
}

#[tokio::test]
async fn a_full_disk_refuses_a_response_and_keeps_the_others() {
    let (_folder, store) = store(10);
    store.put(&ME, &response(1, None, "old")).await.expect("room");
    let pages = "PRAGMA max_page_count = 40";
    sqlx::raw_sql(pages).execute(&mut *store.connection().await.expect("open")).await.expect("set");
    let error = store.put(&ME, &response(2, Some(1), &"new ".repeat(100_000))).await.expect_err("no room");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.message(), "The server's disk is full, so responses cannot be stored.");
    assert_eq!(ids(&store, 1).await, [id(1)]);
    assert_eq!(store.get(&ME, id(2)).await.expect("read"), None);
    store.put(&ME, &response(2, Some(1), "small")).await.expect("room again");
    assert_eq!(ids(&store, 2).await, [id(1), id(2)]);
    store.stop().await;
}

#[tokio::test]
async fn a_damaged_file_is_not_touched() {
    let (folder, store) = store(10);
    let path = file(folder.path());
    std::fs::create_dir(folder.path().join("state")).expect("a folder");
    std::fs::write(&path, "This is not a database.".repeat(100)).expect("a file");
    for _ in 0..2 {
        let error = store.get(&ME, id(1)).await.expect_err("damaged");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.chain().contains("Stop the server and restore responses.db"), "{}", error.chain());
    }
    assert!(std::fs::read_to_string(&path).expect("the file").starts_with("This is not a database."));
}

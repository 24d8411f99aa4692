//! Several servers on one Redis.

use simpleton::cache::{EntryType, Store};

use crate::relay::Relay;
use crate::server::{Server, finds, get, get_now, key, name, open, put, until, written};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_puts_the_other_finds() {
    let server = Server::start(&[]).await;
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    let chat = key(EntryType::Chat, 1);
    put(&one, chat, "first");
    // Not always with the first answer: the news of the change may come just after it.
    while get_now(&two, chat).as_deref() != Some("first") {
        finds(&two, chat, "first").await;
    }

    put(&two, chat, "second");
    finds(&one, chat, "second").await;
    put(&one, chat, "third");
    finds(&two, chat, "third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_clears_the_other_forgets() {
    let server = Server::start(&[]).await;
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    let keys: Vec<_> = (0..500).map(|number| key(EntryType::Chat, number)).collect();
    let vision = key(EntryType::Vision, 1);
    for key in keys.iter().chain([&vision]) {
        put(&one, *key, "a");
    }
    until("all are in Redis", || server.cli(&["dbsize"]) == "501").await;
    assert_eq!(two.get(&keys).await.iter().flatten().count(), 500);
    assert_eq!(get(&two, vision).await.as_deref(), Some("a"));

    assert_eq!(one.clear(Some(EntryType::Chat)).await.unwrap(), 500);
    until("the other forgets", || keys.iter().all(|key| two.get_now(key).is_none())).await;
    assert_eq!(two.get(&keys).await.iter().flatten().count(), 0);
    assert_eq!(get_now(&two, vision).as_deref(), Some("a"), "another kind stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_removes_is_forgotten() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let (chat, vision) = (key(EntryType::Chat, 1), key(EntryType::Vision, 1));
    for key in [chat, vision] {
        put(&store, key, "a");
        written(&store, &server, key).await;
    }
    server.cli(&["del", &name(&chat)]);
    until("DEL is seen", || get_now(&store, chat).is_none()).await;
    assert!(get_now(&store, vision).is_some());
    server.cli(&["flushall"]);
    until("FLUSHALL is seen", || get_now(&store, vision).is_none()).await;
}

/// Invalidations are lost while a replica is cut off, so it must not trust its copies afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn copies_do_not_outlive_a_cut_connection() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let chat = key(EntryType::Chat, 1);
    put(&store, chat, "old");
    written(&store, &server, chat).await;
    // One right after the other: removed before the store is back, so that nobody tells it.
    let lines = format!("client kill type normal skipme yes\ndel {}\n", name(&chat));
    assert!(server.cli_lines(&lines).ends_with('1'), "cut and removed");
    until("the copy is dropped", || get_now(&store, chat).is_none()).await;
    assert_eq!(get(&store, chat).await, None);
}

/// Redis has never had an answer that was made while cut off, so it cannot tell of its removal.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cleared_while_cut_off_does_not_come_back() {
    for stalled_only in [true, false] {
        let server = Server::start(&[]).await;
        let relay = Relay::start(server.port).await;
        let (far, near) = (open(&relay.url()).await, open(&server.url()).await);
        put(&far, key(EntryType::Vision, 1), "before");
        written(&far, &server, key(EntryType::Vision, 1)).await;

        relay.hold(true);
        get(&far, key(EntryType::Chat, 9)).await;
        until("it is cut off", || far.breaker_open()).await;
        if !stalled_only {
            relay.cut();
        }
        let (chat, vision) = (key(EntryType::Chat, 1), key(EntryType::Vision, 2));
        for key in [chat, vision] {
            put(&far, key, "meanwhile");
        }
        assert_eq!(near.clear(Some(EntryType::Chat)).await.unwrap(), 0);
        assert_eq!(get_now(&far, chat).as_deref(), Some("meanwhile"), "nobody could tell it");

        relay.hold(false);
        finds(&near, vision, "meanwhile").await;
        assert_eq!((get(&far, chat).await, get(&near, chat).await), (None, None));
        assert_eq!(get_now(&far, vision).as_deref(), Some("meanwhile"), "another kind stays");

        // And a cut without a clear costs nothing.
        relay.hold(true);
        get(&far, key(EntryType::Chat, 9)).await;
        until("it is cut off again", || far.breaker_open()).await;
        put(&far, chat, "again");
        relay.hold(false);
        finds(&near, chat, "again").await;
        assert_eq!(get_now(&far, chat).as_deref(), Some("again"));
    }
}

//! One store on one healthy server.

use std::time::{Duration, Instant, SystemTime};

use simpleton::{
    cache::{EntryType, Redis, Store},
    types::PerType,
};

use crate::server::{HOUR, Server, get, get_now, key, name, open, put, until, written};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_comes_back_from_memory_and_from_redis() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    assert_eq!(store.name(), "redis");
    let before = SystemTime::now() - Duration::from_millis(1);
    for entry_type in EntryType::ALL {
        put(&store, key(entry_type, 1), entry_type.as_str());
        assert_eq!(get_now(&store, key(entry_type, 1)).as_deref(), Some(entry_type.as_str()), "at once");
        written(&store, &server, key(entry_type, 1)).await;
    }
    let other = open(&server.url()).await;
    for entry_type in EntryType::ALL {
        assert_eq!(get_now(&other, key(entry_type, 1)), None, "memory is still cold");
        let entry = other.get(&[key(entry_type, 1)]).await.pop().unwrap().unwrap();
        assert_eq!(entry.value, entry_type.as_str());
        assert!(entry.stored_at >= before && entry.stored_at <= SystemTime::now());
        assert_eq!(entry.expires_at.duration_since(entry.stored_at).unwrap(), HOUR);
        assert_eq!(get_now(&other, key(entry_type, 1)).as_deref(), Some(entry_type.as_str()), "copied");
    }
    assert_eq!(get(&other, key(EntryType::Chat, 2)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_ends_with_its_time_in_memory_and_in_redis() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let brief = key(EntryType::Chat, 1);
    store.put(brief, "a".into(), Duration::from_millis(1_500));
    written(&store, &server, brief).await;
    let left: u64 = server.cli(&["pttl", &name(&brief)]).parse().unwrap();
    assert!((1..=1_500).contains(&left), "{left}");
    until("it is gone from memory", || store.get_now(&brief).is_none()).await;
    until("it is gone from Redis", || server.cli(&["dbsize"]) == "0").await;
    assert_eq!(get(&store, brief).await, None);

    store.put(key(EntryType::Chat, 2), "a".into(), Duration::ZERO);
    assert_eq!(get(&store, key(EntryType::Chat, 2)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_2048_keeps_its_order_and_its_gaps() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let keys: Vec<_> = (0..2_048).map(|number| key(EntryType::Embedding, number)).collect();
    for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 3 != 0) {
        let mut vector = vec![0; 768 * 4];
        vector[..8].copy_from_slice(&number.to_be_bytes());
        store.put(*key, vector.into(), HOUR);
    }
    until("all are in Redis", || server.cli(&["dbsize"]) == "1365").await;

    let other = open(&server.url()).await;
    let start = Instant::now();
    let found = other.get(&keys).await;
    println!("2048 keys, 1365 entries of 3 KB from Redis: {:?}", start.elapsed());
    for (number, entry) in found.iter().enumerate() {
        match entry {
            Some(entry) => assert_eq!(entry.value[..8], number.to_be_bytes()),
            None => assert_eq!(number % 3, 0, "{number} is missing"),
        }
    }
    assert_eq!(found.iter().flatten().count(), 1_365);
    let size: usize = server.cli(&["strlen", &name(&keys[1])]).parse().unwrap();
    assert!(size <= 3_200, "an embedding of 768 floats takes {size} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_entry_of_this_format_is_a_miss() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    put(&store, key(EntryType::Chat, 0), "the real one");
    written(&store, &server, key(EntryType::Chat, 0)).await;
    let overwrite = |number: u64, command: &[&str]| {
        let name = name(&key(EntryType::Chat, number));
        let args: Vec<&str> =
            command.iter().map(|arg| if *arg == "KEY" { name.as_str() } else { arg }).collect();
        server.cli(&args);
    };
    let first = name(&key(EntryType::Chat, 0));
    overwrite(1, &["set", "KEY", "garbage"]);
    overwrite(2, &["set", "KEY", ""]);
    overwrite(3, &["rpush", "KEY", "a", "list"]);
    overwrite(4, &["copy", &first, "KEY"]);
    overwrite(5, &["eval", "redis.call('set', KEYS[1], '\\193\\0' .. string.rep('x', 40))", "1", "KEY"]);
    for number in 1..=5 {
        assert_eq!(get(&store, key(EntryType::Chat, number)).await, None, "{number}");
    }
    for (number, at, damage) in [(6, "1", "\u{2}"), (7, "3", "x"), (8, "25", "x")] {
        let damaged = key(EntryType::Chat, number);
        put(&store, damaged, "the real one");
        written(&store, &server, damaged).await; // else the write may come after the damage
        overwrite(number, &["setrange", "KEY", at, damage]);
        until("the copy is dropped", || get_now(&store, damaged).is_none()).await;
        assert_eq!(get(&store, damaged).await, None, "byte {at}");
    }
    let stats = store.stats().await;
    assert_eq!((stats.errors, stats.status.as_str()), (0, "available"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_removes_ours_and_nobody_elses() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let foreign =
        ["chat", "simpleton", "simpleton:", "simpleton:cat:1", "simpleton2:chat:1", "Simpleton:chat:1"];
    for name in foreign {
        server.cli(&["set", name, "foreign"]);
    }
    for number in 0..2_500 {
        put(&store, key(EntryType::Chat, number), "a");
    }
    for number in 0..10 {
        put(&store, key(EntryType::Vision, number), "a");
    }
    until("all are in Redis", || server.cli(&["dbsize"]) == "2516").await;

    assert_eq!(store.clear(Some(EntryType::Embedding)).await.unwrap(), 0);
    assert_eq!(store.clear(Some(EntryType::Chat)).await.unwrap(), 2_500);
    assert_eq!(get_now(&store, key(EntryType::Chat, 1)), None);
    assert_eq!(get(&store, key(EntryType::Chat, 1)).await, None);
    assert_eq!(get(&store, key(EntryType::Vision, 1)).await.as_deref(), Some("a"));
    assert_eq!(store.clear(None).await.unwrap(), 10);
    assert_eq!(get(&store, key(EntryType::Vision, 1)).await, None);
    for name in foreign {
        assert_eq!(server.cli(&["get", name]), "foreign", "{name}");
    }
    assert_eq!(server.keys(), foreign.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_just_before_a_clear_is_cleared() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    for round in 0..20 {
        for number in 0..50 {
            put(&store, key(EntryType::Chat, number), "a");
        }
        store.clear(Some(EntryType::Chat)).await.unwrap();
        put(&store, key(EntryType::Chat, 99), "after");
        assert_eq!(get(&store, key(EntryType::Chat, 99)).await.as_deref(), Some("after"), "{round}");
        for number in 0..50 {
            assert_eq!(get(&store, key(EntryType::Chat, number)).await, None, "{round}: {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holdings_are_those_of_our_keys() {
    let server = Server::start(&[]).await;
    server.cli(&["set", "foreign", &"x".repeat(100_000)]);
    let store = open(&server.url()).await;
    for number in 0..200 {
        store.put(key(EntryType::Embedding, number), vec![1; 3_072].into(), HOUR);
    }
    put(&store, key(EntryType::Vision, 1), "a");
    until("all are in Redis", || server.cli(&["dbsize"]) == "202").await;
    let start = Instant::now();
    let mut stats = store.stats().await;
    while stats.entries != PerType::from([(EntryType::Embedding, 200), (EntryType::Vision, 1)]) {
        assert!(start.elapsed() < Duration::from_secs(2), "{stats:?}");
        stats = store.stats().await;
    }
    assert!((200 * 3_072..200 * 4_500).contains(&stats.stored_bytes), "{stats:?}");
    assert!((200 * 3_072..200 * 4_500).contains(&stats.memory_bytes), "{stats:?}");
    assert!(stats.memory_peak_bytes >= stats.memory_bytes, "{stats:?}");
    assert_eq!((stats.errors, stats.evictions), (0, 0));

    store.clear(None).await.unwrap();
    let stats = store.stats().await;
    assert_eq!((stats.entries, stats.stored_bytes), (PerType::default(), 0), "a clear is seen at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_writes_what_is_still_to_be_written() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    for number in 0..1_000 {
        put(&store, key(EntryType::Chat, number), "a");
    }
    store.stop().await;
    assert_eq!(server.cli(&["dbsize"]), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_entry_costs_no_journey() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    put(&store, key(EntryType::Chat, 1), &"x".repeat(1_000));
    written(&store, &server, key(EntryType::Chat, 1)).await;
    let calls = || -> u64 {
        let stats = server.cli(&["info", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    };
    let (before, start) = (calls(), Instant::now());
    for _ in 0..100_000 {
        assert!(store.get_now(&key(EntryType::Chat, 1)).is_some());
    }
    let each = start.elapsed() / 100_000;
    println!("a hot entry: {each:?}");
    assert!(calls() - before < 50, "only heartbeats");
    assert!(each < Duration::from_micros(50), "{each:?}");

    let start = Instant::now();
    for number in 0..1_000 {
        assert!(get(&store, key(EntryType::Chat, 1_000 + number)).await.is_none());
    }
    println!("a miss in Redis: {:?}", start.elapsed() / 1_000);
}

#[tokio::test]
async fn only_a_wrong_url_is_an_error() {
    assert!(Redis::open("http://:hunter2@localhost", 1 << 20).is_err());
    assert!(Redis::open("redis://127.0.0.1:1", 1 << 20).is_ok());
}

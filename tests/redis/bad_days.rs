//! Tests of a broken Redis: it costs one wait of 50 ms at most, then nothing, and the cache comes back by
//! itself. The bounds below are wider than the promise by what a busy machine may add.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use simpleton::cache::{EntryType, Redis, Store};

use crate::{
    eventually::eventually,
    relay::Relay,
    server::{SOON, Server, available, finds, free_port, get, get_now, key, name, open, put, until, written},
};

/// Time that 100 requests may lose together: one wait of 50 ms and the machine's own noise.
const ALL_TOGETHER: Duration = Duration::from_millis(200);
/// Time that they may lose once the breaker is open.
const NOTHING: Duration = Duration::from_millis(50);

/// 100 questions one after the other for keys that are not in memory.
async fn hundred_misses(store: &Redis) -> Duration {
    let start = Instant::now();
    for number in 0..100 {
        assert_eq!(get(store, key(EntryType::Vision, 1_000 + number)).await, None);
    }
    start.elapsed()
}

async fn closes_again(store: &Redis, since: Instant) {
    until("the breaker closes", || !store.breaker_open()).await;
    println!("back after {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled() {
    let server = Server::start(&[]).await;
    let relay = Relay::start(server.port).await;
    let (store, other) = (open(&relay.url()).await, open(&server.url()).await);
    let (hot, cold) = (key(EntryType::Chat, 1), key(EntryType::Chat, 2));
    put(&store, hot, "hot");
    put(&other, cold, "cold");
    written(&store, &server, hot).await;
    written(&other, &server, cold).await;

    server.stall().await;
    let all = hundred_misses(&store).await;
    assert!(store.breaker_open());
    let then = hundred_misses(&store).await;
    println!("stalled: the first 100 lose {all:?}, the next {then:?}");
    assert!(all < ALL_TOGETHER && then < NOTHING, "{all:?} {then:?}");
    assert_eq!(get(&store, hot).await.as_deref(), Some("hot"), "memory goes on");
    put(&store, key(EntryType::Chat, 3), "meanwhile");
    assert_eq!(get(&store, key(EntryType::Chat, 3)).await.as_deref(), Some("meanwhile"));
    assert_eq!(store.stats().await.status, "Redis did not respond in time");

    let connections = relay.accepted();
    until("the connection is replaced", || relay.accepted() > connections).await;
    assert!(hundred_misses(&store).await < NOTHING);
    server.resume();
    closes_again(&store, Instant::now()).await;
    finds(&store, cold, "cold").await;
    finds(&other, key(EntryType::Chat, 3), "meanwhile").await;
}

/// A pause costs no copies: the connection has told of every change when it answers again.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_stall_keeps_the_copies() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    put(&store, key(EntryType::Chat, 1), "hot");
    written(&store, &server, key(EntryType::Chat, 1)).await;
    server.stall().await;
    hundred_misses(&store).await;
    assert!(store.breaker_open());
    server.resume();
    closes_again(&store, Instant::now()).await;
    assert_eq!(get_now(&store, key(EntryType::Chat, 1)).as_deref(), Some("hot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_under_load_all_wait_together() {
    let server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    server.stall().await;
    let start = Instant::now();
    join_all((0..200).map(|number| get(&store, key(EntryType::Chat, number)))).await;
    let all = start.elapsed();
    assert!(all < ALL_TOGETHER, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted_empty() {
    let mut server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    let old = key(EntryType::Chat, 1);
    put(&store, old, "old");
    written(&store, &server, old).await;

    server.kill();
    let all = hundred_misses(&store).await;
    println!("killed: 100 lose {all:?}");
    assert!(all < ALL_TOGETHER, "{all:?}");
    until("the breaker opens", || store.breaker_open()).await;
    assert_eq!(get(&store, old).await.as_deref(), Some("old"), "memory goes on");
    let meanwhile = key(EntryType::Chat, 2);
    put(&store, meanwhile, "meanwhile");
    let error = store.clear(Some(EntryType::Vision)).await.unwrap_err();
    assert_eq!(error.kind(), simpleton::error::Kind::Unavailable);
    assert_eq!(store.stats().await.status, "Redis cannot be reached");

    server.restart().await;
    closes_again(&store, Instant::now()).await;
    until("old copies are dropped", || get_now(&store, old).is_none()).await;
    assert_eq!(get(&store, old).await, None, "it is gone from Redis");
    assert_eq!(get(&store, meanwhile).await.as_deref(), Some("meanwhile"), "made while it was away");
    until("and written now", || server.cli(&["exists", &name(&meanwhile)]) == "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped() {
    let mut server = Server::start(&[]).await;
    let store = open(&server.url()).await;
    server.stop();
    let all = hundred_misses(&store).await;
    assert!(all < ALL_TOGETHER, "{all:?}");
    server.restart().await;
    available(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_our_start() {
    let port = free_port();
    let start = Instant::now();
    let store = Redis::open(&format!("redis://127.0.0.1:{port}"), 1 << 20).unwrap();
    let opening = start.elapsed();
    assert!(opening < NOTHING, "{opening:?}");
    let early = key(EntryType::Chat, 1);
    put(&store, early, "early");
    assert_eq!(get(&store, early).await.as_deref(), Some("early"));
    let all = hundred_misses(&store).await;
    assert!(all < ALL_TOGETHER, "{all:?}");
    until("the breaker opens", || store.breaker_open()).await;
    assert!(hundred_misses(&store).await < NOTHING);

    let server = Server::start_at(port, &[]).await;
    closes_again(&store, Instant::now()).await;
    until("what was put is written", || server.cli(&["exists", &name(&early)]) == "1").await;
    assert_eq!(get_now(&store, early).as_deref(), Some("early"));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let (store, other) = (open(&server.url()).await, open(&server.url()).await);
    put(&store, key(EntryType::Chat, 1), "before");
    written(&store, &server, key(EntryType::Chat, 1)).await;

    server.cli(&["config", "set", "maxmemory", "1"]);
    put(&store, key(EntryType::Chat, 2), "refused");
    assert_eq!(get(&store, key(EntryType::Chat, 2)).await.as_deref(), Some("refused"), "memory has it");
    eventually(SOON, "the refusal is counted", async || store.stats().await.evictions > 0).await;
    assert!(store.stats().await.status.starts_with("Redis is out of memory"));
    assert!(!store.breaker_open());
    assert_eq!(get(&other, key(EntryType::Chat, 1)).await.as_deref(), Some("before"), "reading goes on");
    assert_eq!(get(&other, key(EntryType::Chat, 2)).await, None);
    assert_eq!(store.clear(None).await.unwrap(), 1, "clearing too");

    server.cli(&["config", "set", "maxmemory", "0"]);
    put(&store, key(EntryType::Chat, 3), "after");
    finds(&other, key(EntryType::Chat, 3), "after").await;
    available(&store).await;
}

/// One thread, so that this test's log is its own.
#[tokio::test]
async fn wrong_password() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let store = Redis::open(&format!("redis://:hunter2@127.0.0.1:{}", server.port), 1 << 20).unwrap();
    until("the breaker opens", || store.breaker_open()).await;
    assert_eq!(store.stats().await.status, "Redis rejected the password");
    put(&store, key(EntryType::Chat, 1), "a");
    assert_eq!(get(&store, key(EntryType::Chat, 1)).await.as_deref(), Some("a"));
    assert!(hundred_misses(&store).await < NOTHING);
    let none = Redis::open(&server.url(), 1 << 20).unwrap();
    until("the breaker opens", || none.breaker_open()).await;
    assert_eq!(none.stats().await.status, "Redis requires a password");
    drop(none);

    // More attempts, which are not worth another line.
    let before = refused_passwords(&server);
    until("more attempts", || refused_passwords(&server) >= before + 3).await;
    let warnings = log.text().lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 2, "one for each store:\n{}", log.text());
    assert!(!log.text().contains("hunter2"), "{}", log.text());

    server.cli(&["-a", "right", "--no-auth-warning", "config", "set", "requirepass", "hunter2"]);
    available(&store).await;
    let again = log.text().lines().filter(|line| line.contains("INFO")).count();
    assert_eq!(again, 1, "{}", log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_do_what_is_needed() {
    let server = Server::start(&[]).await;
    server.cli(&["acl", "setuser", "reader", "on", ">pw", "~simpleton:*", "+@all", "-mget"]);
    let store = open(&format!("redis://reader:pw@127.0.0.1:{}", server.port)).await;
    let all = hundred_misses(&store).await;
    assert!(all < SOON, "{all:?}");
    assert!(!store.breaker_open(), "it answers, so nobody waits");
    let stats = store.stats().await;
    assert_eq!(stats.status, "the Redis user lacks permissions that the cache needs");
    assert!(stats.errors >= 100, "{stats:?}");
}

/// Number of times that a server has rejected a password.
fn refused_passwords(server: &Server) -> u64 {
    let commands = server.cli(&["-a", "right", "--no-auth-warning", "info", "commandstats"]);
    let of = |command: &str| {
        let line = commands.lines().find_map(|line| line.strip_prefix(command))?;
        line.split("failed_calls=").nth(1)?.trim().parse::<u64>().ok()
    };
    ["cmdstat_hello:", "cmdstat_auth:"].into_iter().filter_map(of).sum()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

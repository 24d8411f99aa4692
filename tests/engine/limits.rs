//! Slots, the line before them, the number of models and their memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use simpleton::{backend::Backend, engine::Role, error::Kind};

use crate::harness::{Rig, is_alive, question, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_refused_and_a_waiter_that_leaves_makes_room() {
    let rig = Rig::new(&["--engine-parallel", "1", "--engine-queue", "1"]);
    let acquire = || rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None);
    let held = acquire().await.expect("a lease");
    let mut waiter = Box::pin(acquire());
    assert!(waiter.as_mut().now_or_never().is_none());
    assert_eq!(rig.only_loaded().waiting, 1);

    let error = acquire().await.expect_err("a full queue");
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.retry_after_hint().is_some());

    drop(waiter);
    assert_eq!(rig.only_loaded().waiting, 0);
    let mut waiter = Box::pin(acquire());
    assert!(waiter.as_mut().now_or_never().is_none());
    drop(held);
    let lease = waiter.await.expect("a lease");
    assert!(lease.load().is_zero());
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_users_share_one_start_and_it_outlives_those_who_leave() {
    let rig = Rig::new(&[]);
    let acquire = || rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None);
    let mut leaving = Box::pin(acquire());
    assert!(leaving.as_mut().now_or_never().is_none());
    drop(leaving);
    until("the model is loaded though nobody waits", || !rig.engine.loaded().is_empty()).await;
    assert_eq!(rig.only_loaded().slots_busy, 0);
    rig.backend.stop().await;

    let rig = Rig::new(&[]);
    let acquire = || rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None);
    let (a, b) = tokio::join!(acquire(), acquire());
    assert!(!a.expect("a lease").load().is_zero() && !b.expect("a lease").load().is_zero());
    assert!(rig.only_loaded().slots_busy <= 2);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_slots_are_all_answered() {
    let rig = Rig::new(&["--engine-parallel", "2"]);
    let all = (0..24).map(|_| rig.reply(question("What is the capital of France?")));
    for reply in futures_util::future::join_all(all).await {
        assert!(reply.expect("a reply").text().contains("Paris"));
    }
    let loaded = rig.only_loaded();
    assert_eq!((loaded.slots_busy, loaded.waiting), (0, 0));
    rig.backend.stop().await;
}

async fn the_idle_one_goes(flags: &[&str]) {
    let rig = Rig::new(flags);
    drop(rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease"));
    let first = rig.pid();
    let lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Embed, None).await.expect("a lease");
    assert_eq!(rig.only_loaded().role, Role::Embed);
    assert!(!is_alive(first));

    // The other is in use now, so that nobody can go.
    let error = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect_err("no room");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.retry_after_hint().is_some());
    drop(lease);
    rig.reply(question("Hello!")).await.expect("room again");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_model_goes_when_there_are_too_many() {
    the_idle_one_goes(&["--engine-max-loaded", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_model_goes_when_memory_is_short() {
    the_idle_one_goes(&["--engine-memory-mb", "250"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_asked_without_pause_makes_room_for_another_and_comes_back() {
    let rig = Rig::new(&["--engine-max-loaded", "1"]);
    let asked = || rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None);
    let served = AtomicUsize::new(0);
    let crowd = join_all((0..6).map(async |_| {
        loop {
            let lease = asked().await.expect("a lease, sooner or later");
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(lease);
            served.fetch_add(1, Relaxed);
        }
    }));
    let other = async {
        until("the crowd is served", || served.load(Relaxed) > 10).await;
        let lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Embed, None).await.expect("room");
        assert_eq!(rig.only_loaded().role, Role::Embed);
        drop(lease);
        let before = served.load(Relaxed);
        until("the crowd is served again", || served.load(Relaxed) > before + 10).await;
    };
    tokio::select! {
        _ = crowd => unreachable!("it asks for ever"),
        () = other => {}
    }
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_over_the_whole_budget_is_refused_with_both_numbers() {
    let rig = Rig::new(&["--engine-memory-mb", "100"]);
    let error = rig.reply(question("Hello!")).await.expect_err("too big");
    assert_eq!(error.kind(), Kind::Setup);
    assert!(error.message().contains("may use only 100 MB"), "{error:?}");
    let need: u64 = error
        .message()
        .split_once("about ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .and_then(|(number, _)| number.parse().ok())
        .expect("a number");
    assert!((128..1000).contains(&need), "{need}");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_is_told() {
    let rig = Rig::new(&[]);
    assert!(!rig.backend.models().await.expect("models")[0].loaded);
    rig.reply(question("Hello!")).await.expect("a reply");
    assert!(rig.backend.models().await.expect("models")[0].loaded);
    let loaded = rig.only_loaded();
    assert_eq!((loaded.name.as_str(), loaded.role, loaded.slots), ("simpleton-demo", Role::Chat, 4));
    assert!(loaded.memory_bytes > 100_000_000);
    rig.backend.stop().await;
    until("all are gone", || rig.engine.loaded().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_for_the_gpu_are_limited_only_when_a_number_is_set() {
    for (flags, expected) in [
        (&["--engine-gpu-layers", "7"][..], Some("7")),
        (&["--engine-gpu-layers", "0"], Some("0")),
        (&["--engine-gpu-layers", "AUTO"], None),
        (&[], None),
    ] {
        let rig = Rig::new(flags);
        let lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease");
        let pid = rig.only_loaded().pid.expect("a process");
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("its command line");
        let words: Vec<&str> = command.split('\0').collect();
        let layers = words.iter().position(|word| *word == "-ngl").map(|at| words[at + 1]);
        assert_eq!(layers, expected, "{flags:?}");
        drop(lease);
        rig.backend.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_serves_before_it_gives_way_to_another() {
    let rig = Rig::new(&["--engine-max-loaded", "1"]);
    let acquire = |role| rig.engine.acquire(Arc::clone(&rig.entry), role, None);
    // A request whose model is ready, and which has not noticed that yet.
    let mut first = Box::pin(acquire(Role::Embed));
    assert!(first.as_mut().now_or_never().is_none());
    until("it is loaded", || !rig.engine.loaded().is_empty()).await;
    let pid = rig.pid();
    let error = acquire(Role::Chat).await.expect_err("the other one is needed");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(is_alive(pid), "it has served no request");
    let lease = first.await.expect("a lease");
    assert_eq!(rig.pid(), pid);
    // Now that it serves, it is drained.
    let (second, ()) = tokio::join!(acquire(Role::Chat), async {
        until("it takes no more requests", || acquire(Role::Embed).now_or_never().is_none()).await;
        drop(lease);
    });
    second.expect("a lease");
    assert!(!is_alive(pid));
    rig.backend.stop().await;
}

//! When children go: after their keep-alive, and when the engine stops.

use std::{fs, sync::Arc, time::Duration};

use simpleton::{
    backend::Backend,
    engine::Role,
    error::Kind,
    model_store::ModelStore,
    types::{FinishReason, KeepAlive, LoadOptions, Usage},
};

use crate::{
    harness::{Rig, is_alive, question, slow, some_text, until},
    manifest::{demo, layer, manifest},
};

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_zero_unloads_after_the_reply() {
    let rig = Rig::new(&[]);
    let mut request = slow();
    request.keep_alive = Some(KeepAlive::For(Duration::ZERO));
    let mut stream = rig.backend.chat(request).await.expect("a stream");
    some_text(&mut stream).await;
    let pid = rig.pid();
    some_text(&mut stream).await;
    assert!(is_alive(pid), "not before the reply has ended");
    drop(stream);
    until("the child is gone", || !is_alive(pid) && rig.engine.loaded().is_empty()).await;
    rig.reply(question("Hello!")).await.expect("loaded anew");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_is_unloaded_after_its_time() {
    let rig = Rig::new(&["--engine-keep-alive", "300ms"]);
    let lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease");
    let pid = rig.pid();
    let outlives_an_idle_one = async || {
        drop(rig.engine.acquire(Arc::clone(&rig.entry), Role::Embed, None).await.expect("a lease"));
        until("the idle child is gone", || rig.engine.loaded().len() == 1).await;
    };
    outlives_an_idle_one().await;
    assert!(is_alive(pid), "it is in use");
    drop(lease);
    assert!(is_alive(pid), "its time begins now");
    until("the child is gone", || !is_alive(pid)).await;

    let forever = Some(KeepAlive::Forever);
    drop(rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, forever).await.expect("a lease"));
    let pid = rig.pid();
    outlives_an_idle_one().await;
    assert!(is_alive(pid), "it is to stay");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_leaves_no_child_and_lets_none_start() {
    let rig = Rig::new(&[]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let embed = rig.engine.acquire(Arc::clone(&rig.entry), Role::Embed, None).await.expect("a lease");
    let pids: Vec<u32> = rig.engine.loaded().iter().filter_map(|model| model.pid).collect();
    assert_eq!(pids.len(), 2);
    rig.backend.stop().await;
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left, or not reaped");
    }
    assert_eq!(rig.reply(question("Hello!")).await.expect_err("stopped").kind(), Kind::Unavailable);
    drop((stream, embed));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_a_start_that_is_under_way() {
    let rig = Rig::new(&[]);
    let acquire = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None);
    let (lease, ()) = tokio::join!(acquire, rig.engine.stop());
    assert_eq!(lease.expect_err("stopped").kind(), Kind::Unavailable);
    assert_eq!(rig.engine.loaded(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_loaded_and_unloaded_without_a_question() {
    let rig = Rig::new(&[]);
    let name = "simpleton-demo";
    let nothing = rig
        .backend
        .load(name, LoadOptions { keep_alive: Some(KeepAlive::NONE), ..LoadOptions::default() })
        .await
        .expect("an end");
    assert_eq!(
        (nothing.reason, rig.engine.loaded().len()),
        (FinishReason::Unload, 0),
        "it is not loaded for that"
    );
    let loaded = rig
        .backend
        .load(name, LoadOptions { keep_alive: Some(KeepAlive::Forever), ..LoadOptions::default() })
        .await
        .expect("an end");
    assert_eq!((loaded.reason, loaded.usage), (FinishReason::Load, Usage::default()));
    assert!(loaded.timings.total >= loaded.timings.load && !loaded.timings.load.is_zero());
    let pid = rig.pid();
    rig.backend
        .load(name, LoadOptions { keep_alive: Some(KeepAlive::NONE), ..LoadOptions::default() })
        .await
        .expect("an end");
    until("the child is gone", || !is_alive(pid) && rig.engine.loaded().is_empty()).await;
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let pid = rig.pid();
    rig.backend
        .load(name, LoadOptions { keep_alive: Some(KeepAlive::NONE), ..LoadOptions::default() })
        .await
        .expect("an end");
    some_text(&mut stream).await;
    assert!(is_alive(pid), "not before the reply has ended");
    drop(stream);
    until("the child is gone", || !is_alive(pid)).await;
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_context_loads_the_model_anew_after_its_last_request() {
    let rig = Rig::new(&[]);
    let name = "simpleton-demo";
    let load = |context| LoadOptions { keep_alive: Some(KeepAlive::Forever), context };
    rig.backend.load(name, load(None)).await.expect("loaded");
    let (pid, usual) = (rig.pid(), rig.engine.loaded()[0].context);
    rig.backend.load(name, load(Some(usual))).await.expect("loaded");
    assert_eq!(rig.pid(), pid, "it has that context");

    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let reload = rig.backend.load(name, load(Some(512)));
    let finish = async {
        some_text(&mut stream).await;
        assert!(is_alive(pid), "not before the reply has ended");
        drop(stream);
    };
    let (reloaded, ()) = tokio::join!(reload, finish);
    assert!(!reloaded.expect("loaded anew").timings.load.is_zero());
    let loaded = rig.engine.loaded();
    assert_eq!((loaded.len(), loaded[0].context), (1, 512));
    assert!(!is_alive(pid));

    let refused = rig.backend.load(name, load(Some(4096))).await.expect_err("more than it was trained for");
    assert_eq!(refused.field_errors()[0].pointer, "/context");
    // What is asked next has this context, also after a restart of the child, until it is unloaded.
    rig.backend.load(name, load(None)).await.expect("loaded");
    assert_eq!(rig.engine.loaded()[0].context, 512);
    rig.backend
        .load(name, LoadOptions { keep_alive: Some(KeepAlive::NONE), context: None })
        .await
        .expect("an end");
    until("the child is gone", || rig.engine.loaded().is_empty()).await;
    rig.backend.load(name, load(None)).await.expect("loaded");
    assert_eq!(rig.engine.loaded()[0].context, usual);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unload_also_counts_for_requests_in_the_queue() {
    let rig = Rig::new(&["--engine-parallel", "1"]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let pid = rig.pid();
    let queued = rig.reply(question("Hello!"));
    let unload = async {
        until("a request waits", || rig.engine.snapshot().waiting == 1).await;
        rig.engine.unload(&rig.entry);
        some_text(&mut stream).await;
        assert!(is_alive(pid), "not before the reply has ended");
        drop(stream);
    };
    let (reply, ()) = tokio::join!(queued, unload);
    reply.expect("an answer");
    until("the child is gone", || !is_alive(pid) && rig.engine.loaded().is_empty()).await;
    // A later request keeps it.
    let forever = Some(KeepAlive::Forever);
    drop(rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, forever).await.expect("a lease"));
    assert_eq!(rig.only_loaded().expires_at, None);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_refused_does_not_change_the_context() {
    let rig = Rig::new(&["--engine-parallel", "1", "--engine-queue", "0"]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let (pid, context) = (rig.pid(), rig.engine.context(&rig.entry));
    let other = LoadOptions { keep_alive: None, context: Some(512) };
    let refused = rig.backend.load("simpleton-demo", other).await.expect_err("all slots are busy");
    assert_eq!((refused.kind(), rig.engine.context(&rig.entry)), (Kind::Busy, context));
    drop(stream);
    rig.reply(question("Hello!")).await.expect("an answer");
    assert_eq!(rig.pid(), pid, "it was not loaded anew");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_removed_before_it_is_loaded_is_not_found() {
    let rig = Rig::new(&[]);
    let models = rig.dir.path().join("models");
    manifest(&models, "other", &[layer(&models, "model", &demo())]);
    let store = ModelStore::open(models.clone()).expect("the models");
    let name = "other".parse().expect("a name");
    let entry = store.find(&name).expect("a model").expect("it is there");
    store.remove(&name).expect("removed");
    // The demo has the same weights, and keeps them.
    fs::remove_file(&entry.weights).expect("removed");
    for _ in 0..3 {
        let error = rig.engine.acquire(Arc::clone(&entry), Role::Chat, None).await.expect_err("it is gone");
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(error.message().contains("was removed"), "{error}");
    }
    assert_eq!(rig.engine.snapshot().crash_loop, None);
    rig.backend.stop().await;
}

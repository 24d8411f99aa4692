//! Tests of failures: the error a caller gets, and that the next request is served.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use simpleton::{
    backend::Backend,
    engine::{Engine, Role},
    error::{Error, Kind},
    model_store::{Entry, ModelStore, WeightsFile},
};

use crate::harness::{Rig, kill, question, settings, slow, some_text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_and_the_next_request_starts_anew() {
    let rig = Rig::new(&[]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let pid = rig.pid();
    kill(pid);
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the end of a reply that was cut off"),
        }
    };
    assert_eq!(error.kind(), Kind::BadGateway);
    assert_eq!(error.message(), "The engine process for simpleton-demo ended unexpectedly.");
    assert!(stream.next().await.is_none());
    drop(stream);

    let reply = rig.reply(question("What is the capital of France?")).await.expect("a reply");
    assert!(reply.text().contains("Paris"));
    assert_ne!(rig.pid(), pid);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_crashes_are_answered_with_a_pause() {
    let rig = Rig::new(&[]);
    for _ in 0..2 {
        rig.reply(question("Hello!")).await.expect("a reply");
        kill(rig.pid());
        until("the crash is noticed", || rig.engine.loaded().is_empty()).await;
    }
    let error = rig.reply(question("Hello!")).await.expect_err("in its pause");
    assert_eq!(error.kind(), Kind::Unavailable);
    let after = error.retry_after_hint().expect("a time to come back");
    tokio::time::sleep(after).await;
    rig.reply(question("Hello!")).await.expect("a reply after the pause");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_over_the_context_names_both_numbers_and_the_child_lives_on() {
    let rig = Rig::new(&["--engine-context", "512"]);
    let error = rig.reply(question(&"hello ".repeat(1000))).await.expect_err("too long");
    assert_eq!(error.code(), Some("context_length_exceeded"));
    assert!(error.context_exceeded().is_some_and(|(tokens, maximum)| tokens > maximum), "{error:?}");
    assert_eq!(error.kind(), Kind::Invalid);
    let [field] = error.field_errors() else { panic!("{error:?}") };
    assert_eq!(field.pointer, "/messages");
    let numbers: Vec<u32> =
        field.detail.split(' ').filter_map(|word| word.trim_end_matches([',', ';']).parse().ok()).collect();
    assert!(numbers[0] > 900 && numbers[1] == 512, "{error:?}");
    let pid = rig.pid();
    rig.reply(question("Hello!")).await.expect("a reply");
    assert_eq!(rig.pid(), pid);
    rig.backend.stop().await;
}

/// The demo model with `other` in place of `known` in its file, as if it had been made so.
fn with_other(rig: &Rig, known: &[u8], other: &[u8]) -> Arc<Entry> {
    let mut bytes = fs::read(&rig.entry.weights).expect("the demo model");
    let at = bytes.windows(known.len()).position(|there| there == known).expect("it is there");
    bytes[at..at + known.len()].copy_from_slice(other);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let weights = rig.dir.path().join(&digest);
    fs::write(&weights, bytes).expect("a file");
    let parts = vec![WeightsFile { path: weights.clone(), digest: digest.clone() }];
    Arc::new(Entry { weights, weights_digest: digest, parts, ..Entry::clone(&rig.entry) })
}

async fn refusal(rig: &Rig, entry: &Arc<Entry>) -> Error {
    rig.engine.acquire(Arc::clone(entry), Role::Chat, None).await.expect_err("a broken model")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_ends_without_a_word_tells_its_exit_status_once() {
    let rig = Rig::new(&[]);
    let foreign = rig.dir.path().join("foreign");
    fs::write(&foreign, "#!/bin/sh\nkill -ILL $$\n").expect("a script");
    fs::set_permissions(&foreign, Permissions::from_mode(0o755)).expect("a script");
    for (program, told) in
        [("/bin/false", "(exit status: 1)."), (foreign.to_str().expect("UTF-8"), "PORTABLE=1")]
    {
        let model_store = ModelStore::open(rig.dir.path().join("models")).expect("a library");
        let engine = Engine::new(settings(&["--llama-server", program]), rig.dir.path(), model_store);
        let engine = Arc::new(engine.expect("an engine"));
        let error = engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect_err("no engine");
        let text = error.chain();
        assert!(text.starts_with("The engine cannot load simpleton-demo: its process ended ("), "{text}");
        assert!(text.contains(told), "{text}");
        engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_model_says_what_is_wrong_without_showing_our_disk() {
    let rig = Rig::new(&[]);
    let nameless = with_other(&rig, b"token_embd.weight", b"token_else.weight");
    for _ in 0..2 {
        let error = refusal(&rig, &nameless).await;
        assert_eq!(error.kind(), Kind::BadGateway);
        assert!(error.message().starts_with("The engine cannot load simpleton-demo: "), "{error:?}");
        assert!(error.message().contains("not found"), "{error:?}");
        assert!(!error.message().contains('/'), "{error:?}");
        assert!(error.chain().ends_with("exit status: 1"), "its lines are in the log, once: {error:?}");
    }
    let error = refusal(&rig, &nameless).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("not found") && error.retry_after_hint().is_some(), "{error:?}");

    let digest = "0".repeat(64);
    let parts = vec![WeightsFile { path: rig.entry.weights.clone(), digest: digest.clone() }];
    let damaged = Entry { weights_digest: digest, parts, ..Entry::clone(&rig.entry) };
    let error = refusal(&rig, &Arc::new(damaged)).await;
    assert_eq!(error.kind(), Kind::Setup);
    assert!(error.message().contains("does not match its checksum"), "{error:?}");
    assert!(error.chain().contains("sha256 is"), "{error:?}");
    assert_eq!(rig.engine.loaded(), []);
    rig.reply(question("Hello!")).await.expect("the others are not touched");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_engine_says_what_to_do() {
    let rig = Rig::new(&[]);
    let model_store = ModelStore::open(rig.dir.path().join("models")).expect("a library");
    let settings = settings(&["--llama-server", "/nowhere/llama-server"]);
    let engine = Engine::new(settings, &rig.dir.path().join("x"), model_store).expect("an engine");
    for error in [
        engine.locate().await.expect_err("missing"),
        engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect_err("missing"),
    ] {
        assert_eq!(error.kind(), Kind::Setup);
        assert!(error.message().contains("simpleton engine install"), "{error:?}");
    }
    assert!(rig.backend.version().await.expect("a version").contains("build"));
    engine.stop().await;
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_not_found() {
    let rig = Rig::new(&[]);
    for name in ["nonesuch", "../etc/passwd"] {
        let mut request = question("Hello!");
        request.model = name.to_owned();
        assert_eq!(rig.reply(request).await.expect_err(name).kind(), Kind::NotFound);
    }
    rig.backend.stop().await;
}

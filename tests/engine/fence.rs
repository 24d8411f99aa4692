//! The fence round a child: whatever one request does to it, the others are answered.

use std::{
    fs::{self, File},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simpleton::{
    backend::Backend,
    engine::{Death, Fingerprint, Role},
    error::{Error, Kind},
    http_client::{Request, Retry},
    model_store::Entry,
    types::{EmbedRequest, Format},
};

use crate::harness::{Rig, collect, completion, question, slow, some_text, until};

/// llama-server makes a grammar of this that grows without end, and computes nothing else meanwhile. Our own
/// checks would refuse it.
fn endless() -> Value {
    let schema = json!({"type": "string", "minLength": 5, "maxLength": 1});
    let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
    json!({"messages": [{"role": "user", "content": "Hi"}], "response_format": format})
}

/// Gives a body to the child as it is, and says how that ended.
async fn give(rig: &Rig, body: Value, request: Fingerprint) -> Option<Death> {
    let mut lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease");
    lease.begin(request);
    let request = Request::post("/v1/chat/completions", body.to_string().into(), Retry::Idempotent);
    let sent = lease.client().send(request).await;
    let error: Error = sent.err()?;
    assert!(matches!(error.kind(), Kind::BadGateway | Kind::Unavailable), "{error:?}");
    lease.post_mortem().await
}

/// Bytes that a process holds by itself.
fn held(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Watches how much a child holds at most, in bytes, for as long as it lives.
fn peak(pid: u32) -> Arc<AtomicU64> {
    let peak: Arc<AtomicU64> = Arc::default();
    let most = Arc::clone(&peak);
    tokio::spawn(async move {
        while let Some(held) = held(pid) {
            most.fetch_max(held, Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    peak
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), signal).expect("a process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_grows_is_ended_and_what_others_asked_is_asked_again() {
    let rig = Rig::new(&[]);
    rig.reply(question("Hello!")).await.expect("a reply");
    let first = rig.pid();
    let peak = peak(first);
    let victims = async {
        until("the child grows", || held(first).is_some_and(|held| held > 200_000_000)).await;
        let ask = || rig.reply(question("What is the capital of France?"));
        tokio::join!(ask(), ask(), ask())
    };
    let (hostile, (a, b, c)) = tokio::join!(give(&rig, endless(), [1; 32]), victims);
    assert!(hostile.is_some(), "the child was ended");
    for victim in [a, b, c] {
        assert!(victim.expect("an answer all the same").text().contains("Paris"));
    }
    assert_ne!(rig.pid(), first);
    let megabytes = peak.load(Relaxed) / 1_000_000;
    assert!((100..1000).contains(&megabytes), "{megabytes} MB");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_two_children_is_told_and_then_refused_without_harm_to_others() {
    let rig = Rig::new(&["--engine-context", "512"]);
    let (hostile, harmless) = ([1; 32], [2; 32]);
    for _ in 0..2 {
        rig.reply(question("Hello!")).await.expect("a reply, and no pause before it");
        rig.engine.check(&hostile).expect("not yet");
        let death = give(&rig, endless(), hostile).await.expect("the child was ended");
        assert!(!death.is_anothers_fault);
        assert_eq!(death.error.kind(), Kind::BadGateway);
        let message = death.error.message();
        assert!(
            message.starts_with("This request made the engine process for simpleton-demo exceed"),
            "{message}"
        );
        assert!(rig.engine.snapshot().crash_loop.is_none(), "the model is not to blame");
    }
    let refusal = rig.engine.check(&hostile).expect_err("twice");
    assert_eq!(refusal.kind(), Kind::Invalid);
    assert!(refusal.retry_after_hint().is_some());
    rig.engine.check(&harmless).expect("another");
    let asked = Instant::now();
    rig.reply(question("Hello!")).await.expect("a reply");
    assert!(asked.elapsed() < Duration::from_secs(20), "no backoff");
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_has_begun_is_cut_off_with_an_error() {
    let rig = Rig::new(&[]);
    let mut stream = rig.backend.chat(slow()).await.expect("a stream");
    some_text(&mut stream).await;
    let (hostile, begun) = tokio::join!(give(&rig, endless(), [1; 32]), collect(stream));
    assert!(hostile.expect("a death").error.message().starts_with("This request"));
    let error = begun.expect_err("cut off");
    assert_eq!(error.kind(), Kind::BadGateway);
    assert!(error.message().starts_with("The engine process for simpleton-demo exceeded"), "{error:?}");
    rig.backend.stop().await;
}

/// Its grammar has twenty thousand alternatives, each of which is tried before each token. Memory hardly grows.
fn laborious() -> Value {
    let words: Vec<Value> = (0..20_000).map(|n| json!({"const": format!("v{n}")})).collect();
    let schema = json!({"type": "array", "minItems": 200, "items": {"anyOf": words}});
    let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
    json!({"messages": [{"role": "user", "content": "Hi"}], "response_format": format})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_works_for_one_request_alone_is_ended_and_said_to_be_held_up_until_then() {
    let rig = Rig::new(&[]);
    rig.reply(question("Hello!")).await.expect("a reply");
    let held_up = || rig.engine.snapshot().held_up;
    let victim = async {
        until("the child is held up", || held_up().as_deref() == Some("simpleton-demo")).await;
        let lease = rig.engine.acquire(Arc::clone(&rig.entry), Role::Chat, None).await.expect("a lease");
        let health = lease.client().send(Request::get("/health")).await.expect("an answer");
        assert!(health.is_success(), "its other threads are well");
        drop(lease);
        rig.reply(question("What is the capital of France?")).await
    };
    let (hostile, victim) = tokio::join!(give(&rig, laborious(), [1; 32]), victim);
    let death = hostile.expect("the child was ended");
    assert!(
        death.error.message().starts_with("This request blocked the engine process"),
        "{:?}",
        death.error
    );
    assert!(victim.expect("an answer all the same").text().contains("Paris"));
    assert_eq!(held_up(), None);
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_stands_still_is_ended_and_what_was_asked_is_asked_again() {
    let rig = Rig::new(&[]);
    rig.reply(question("Hello!")).await.expect("a reply");
    let pid = rig.pid();
    signal(pid, Signal::STOP);
    let reply = rig.reply(question("What is the capital of France?")).await.expect("an answer all the same");
    assert!(reply.text().contains("Paris"));
    assert_ne!(rig.pid(), pid);
    rig.backend.stop().await;
}

/// The demo model with another chat template.
fn with_template(rig: &Rig, template: &str) -> Arc<Entry> {
    let mut bytes = fs::read(&rig.entry.weights).expect("the demo model");
    let key = b"tokenizer.chat_template";
    let key_at = bytes.windows(key.len()).position(|there| there == key).expect("it has a template");
    // The key, the value's type, its length, and then the text.
    let length_at = key_at + key.len() + 4;
    let text_at = length_at + 8;
    let length = u64::from_le_bytes(bytes[length_at..text_at].try_into().expect("8 bytes")) as usize;
    let padded = format!("{template:length$}");
    assert_eq!(padded.len(), length, "the template has room");
    bytes[text_at..text_at + length].copy_from_slice(padded.as_bytes());
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let weights = rig.dir.path().join(&digest);
    fs::write(&weights, bytes).expect("a file");
    Arc::new(Entry { weights, weights_digest: digest, ..Entry::clone(&rig.entry) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_takes_all_memory_ends_its_own_child_alone() {
    let rig = Rig::new(&[]);
    rig.reply(question("Hello!")).await.expect("a reply");
    let pid = rig.pid();
    for template in [
        "{{ 'a' * 4000000000 }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l }}",
    ] {
        let broken = with_template(&rig, template);
        let asked = Instant::now();
        let refused = rig.engine.acquire(broken, Role::Chat, None).await;
        // What the engine itself does not let a template do, it may load.
        if let Err(error) = refused {
            assert_eq!(error.kind(), Kind::BadGateway);
            assert!(error.message().contains("chat template"), "{template}: {error:?}");
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "{template}");
        rig.reply(question("Hello!")).await.expect("the others go on");
        assert!(rig.engine.loaded().iter().any(|model| model.pid == Some(pid)));
    }
    rig.backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_fit_is_refused_before_a_child_is_asked() {
    let rig = Rig::new(&[]);
    let long = "word ".repeat(6_000_000);
    let asked = Instant::now();
    let chat = rig.reply(question(&long)).await.expect_err("too long");
    let generate = rig.reply(completion(&long, None)).await.expect_err("too long");
    let model = "simpleton-demo".to_owned();
    let input = vec!["fits".to_owned(), long];
    let embed = EmbedRequest { model, input, truncate: false, keep_alive: None };
    let embed = rig.backend.embed(embed).await.expect_err("too long");
    for (error, pointer) in [(chat, "/messages/0/content"), (generate, "/prompt"), (embed, "/input/1")] {
        assert_eq!(error.kind(), Kind::Invalid);
        let [field] = error.field_errors() else { panic!("{error:?}") };
        assert_eq!(field.pointer, pointer);
        assert!(field.detail.contains("30000 kB") && field.detail.contains("ENGINE_CONTEXT"), "{error:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(rig.engine.loaded(), [], "not even a model is loaded for it");
    rig.backend.stop().await;
}

/// Returns the log of an engine of one thread, at every level.
async fn logged(work: impl AsyncFnOnce(&Rig)) -> String {
    let rig = Rig::new(&[]);
    let path = rig.dir.path().join("log");
    let log = Arc::new(File::create(&path).expect("a log"));
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    work(&rig).await;
    rig.backend.stop().await;
    drop(guard);
    fs::read_to_string(path).expect("the log")
}

// One thread, for which the log is caught.
#[tokio::test]
async fn nothing_that_was_said_is_logged_whatever_the_child_writes() {
    let log = logged(async |rig| {
        rig.reply(question("A canary?")).await.expect("a reply");
        let schemas = [
            json!({"type": "canary"}),
            json!({"enum": ["canary"], "type": "object", "properties": {"canary": {"type": "nonsense"}}}),
            json!({"type": "string", "pattern": "^(canary$"}),
            json!({"$ref": "#/canary"}),
        ];
        for schema in schemas {
            let mut request = question("Hello!");
            request.format = Format::Schema(schema.into());
            // Whether it is refused here or there, or what for, is another matter.
            drop(rig.reply(request).await);
        }
        let mut body = endless();
        body["messages"][0]["content"] = "a canary".into();
        give(rig, body, [1; 32]).await.expect("the child was ended");
    })
    .await;
    assert!(log.contains("exceeded"), "{log}");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("canary")).collect();
    assert_eq!(said, [""; 0]);
}

#[tokio::test]
async fn a_childs_last_lines_are_logged_once_and_each_as_a_line() {
    let log = logged(async |rig| {
        let mut bytes = fs::read(&rig.entry.weights).expect("the demo model");
        let at = bytes.windows(10).position(|there| there == b"token_embd").expect("it is there");
        bytes[at..at + 10].copy_from_slice(b"token_else");
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let weights = rig.dir.path().join(&digest);
        fs::write(&weights, bytes).expect("a file");
        let broken = Entry { weights, weights_digest: digest, ..Entry::clone(&rig.entry) };
        rig.engine.acquire(Arc::new(broken), Role::Chat, None).await.expect_err("a broken model");
    })
    .await;
    let warned = |text: &str| log.lines().filter(|line| line.contains("WARN") && line.contains(text)).count();
    assert_eq!(warned("exiting due to model loading error"), 1, "{log}");
    assert_eq!(warned("The engine cannot load simpleton-demo"), 1, "{log}");
    assert_eq!(warned("its last lines"), 0);
}

/// A machine with too much to do: the child gets a small part of the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_child_on_a_slow_machine_is_left_alone() {
    let rig = Rig::new(&[]);
    rig.reply(question("Hello!")).await.expect("a reply");
    let pid = rig.pid();
    let stopped = async {
        for _ in 0..8 {
            signal(pid, Signal::STOP);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            signal(pid, Signal::CONT);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let long = question(&"word ".repeat(1500));
    let (reply, ()) = tokio::join!(rig.reply(long), stopped);
    reply.expect("an answer, late");
    assert_eq!(rig.pid(), pid);
    rig.backend.stop().await;
}

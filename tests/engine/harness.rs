//! An engine of its own for each test, and what the tests ask of it again and again.

use std::{fs, sync::Arc, time::Duration};

use clap::Parser;
use futures_util::StreamExt;
use serde_json::{Value, json};
use simpleton::{
    backend::{Backend, ChatStream, Embedded},
    engine::{Engine, Loaded, Settings},
    error::Result,
    model_store::{
        Entry, ModelStore,
        pull::{self, Pace, Puller},
    },
    types::{ChatEvent, ChatRequest, Completion, Done, Format, Message, Prompt, Role, Sampling},
};
use tempfile::TempDir;

use crate::{eventually::eventually, llama_server::llama_server};

/// For slow machines that do much else; nothing waits this long when all is well.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    engine: Settings,
    #[command(flatten)]
    pull: pull::Settings,
}

pub(crate) fn settings(flags: &[&str]) -> Settings {
    parse(flags).engine
}

fn parse(flags: &[&str]) -> Flags {
    Flags::parse_from(["engine"].iter().chain(flags))
}

pub(crate) struct Rig {
    pub(crate) backend: Embedded,
    pub(crate) engine: Arc<Engine>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) dir: TempDir,
}

impl Rig {
    pub(crate) fn new(flags: &[&str]) -> Self {
        let server = llama_server();
        let server = server.to_str().expect("a path in UTF-8");
        let all = [&["--llama-server", server, "--engine-threads", "2"], flags].concat();
        let dir = tempfile::tempdir().expect("a folder");
        let model_store = ModelStore::open(dir.path().join("models")).expect("a library");
        let entry = model_store.install_demo().expect("the demo model");
        let engine =
            Arc::new(Engine::new(settings(&all), dir.path(), model_store.clone()).expect("an engine"));
        let puller = Puller::new(model_store.clone(), &parse(&all).pull, Pace::default()).expect("a puller");
        Self { backend: Embedded::new(model_store, puller, Arc::clone(&engine)), engine, entry, dir }
    }

    /// Gives what `ask` would, as a whole.
    pub(crate) async fn reply(&self, request: ChatRequest) -> Result<Reply> {
        collect(self.backend.chat(request).await?).await
    }

    /// The one loaded model.
    pub(crate) fn only_loaded(&self) -> Loaded {
        let loaded = self.engine.loaded();
        assert_eq!(loaded.len(), 1, "{loaded:?}");
        loaded.into_iter().next().expect("one")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.only_loaded().pid.expect("a running process")
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    /// All events but the last.
    pub(crate) events: Vec<ChatEvent>,
    pub(crate) done: Done,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        self.events
            .iter()
            .filter_map(|event| match event {
                ChatEvent::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub(crate) async fn collect(mut stream: ChatStream) -> Result<Reply> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event?);
    }
    let Some(ChatEvent::Done(done)) = events.pop() else { panic!("no Done at the end of {events:?}") };
    assert!(!events.iter().any(|event| matches!(event, ChatEvent::Done(_))), "Done came twice");
    Ok(Reply { events, done: *done })
}

/// One question to the demo model, always answered alike.
pub(crate) fn question(text: &str) -> ChatRequest {
    request(Prompt::Messages(vec![Message::new(Role::User, text)]))
}

pub(crate) fn completion(text: &str, context: Option<Vec<u32>>) -> ChatRequest {
    request(Prompt::Completion(Completion { text: text.to_owned(), context, ..Completion::default() }))
}

pub(crate) fn request(prompt: Prompt) -> ChatRequest {
    let sampling = Sampling { temperature: Some(0.0), max_tokens: Some(64), ..Sampling::default() };
    ChatRequest { sampling, ..ChatRequest::new("simpleton-demo", prompt) }
}

/// A request that keeps the tiny model busy for half a minute: a grammar of a thousand alternatives
/// has to be tried at every token, and the list may not end before its 200th item.
pub(crate) fn slow() -> ChatRequest {
    let words: Vec<Value> = (0..1000).map(|n| json!({"const": format!("v{n}")})).collect();
    let mut slow = question("List.");
    slow.format = Format::Schema(json!({"type": "array", "minItems": 200, "items": {"anyOf": words}}).into());
    slow.sampling.max_tokens = None;
    slow
}

/// The next event, which is text.
pub(crate) async fn some_text(stream: &mut ChatStream) -> String {
    match stream.next().await {
        Some(Ok(ChatEvent::Text(text))) => text,
        other => panic!("no text but {other:?}"),
    }
}

/// Returns as soon as `met` holds.
pub(crate) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    eventually(DEADLINE, what, async || met()).await;
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    process_fields(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// Clock ticks of CPU that a process has taken so far.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let fields = process_fields(pid).expect("a process");
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// The fields of `/proc/PID/stat` from `state` on.
fn process_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

//! A scripted Ollama: it answers as told, including slowly, partly and wrongly.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    Answers, Request,
    lines::{self, LAST_CHUNK, chat_line, chunk, generate_line, last_line},
    serve,
};

/// One step of an answer's body.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes, as they are.
    Send(String),
    Pause(Duration),
    /// Close the connection without ending the body.
    Cut,
    /// Say nothing more, for ever.
    Hang,
}

/// Scripted reply to one kind of request.
#[derive(Clone, Debug)]
pub struct Script {
    pub status: u16,
    pub steps: Vec<Step>,
    /// Wait before the headers are sent; `None` is for ever.
    pub delay: Option<Duration>,
}

impl Script {
    pub fn ok(steps: Vec<Step>) -> Self {
        Self { status: 200, steps, delay: Some(Duration::ZERO) }
    }

    pub fn error(status: u16, message: &str) -> Self {
        let body = json!({ "error": message }).to_string();
        Self { status, steps: vec![Step::Send(body)], delay: Some(Duration::ZERO) }
    }

    /// `words` as a streamed chat, with `pause` after each.
    pub fn chat(words: &[&str], pause: Duration) -> Self {
        let mut steps = Vec::new();
        for word in words {
            steps.push(Step::Send(chat_line(word)));
            if !pause.is_zero() {
                steps.push(Step::Pause(pause));
            }
        }
        steps.push(Step::Send(last_line(words.len())));
        Self::ok(steps)
    }
}

/// How a model embeds.
#[derive(Clone, Copy)]
pub struct Embeds {
    /// Bytes of the longest text that it accepts.
    pub longest: usize,
    /// Wait before each answer; `None` is for ever.
    pub delay: Option<Duration>,
}

impl Default for Embeds {
    fn default() -> Self {
        Self { longest: usize::MAX, delay: Some(Duration::ZERO) }
    }
}

#[derive(Default)]
struct State {
    embeds: Mutex<HashMap<String, Embeds>>,
    scripts: Mutex<Vec<(String, Script)>>,
    /// Path, head and body of each.
    requests: Mutex<Vec<(String, String, Vec<u8>)>>,
    /// Connections that the other side closed before the answer was complete.
    aborted: AtomicUsize,
    chunks_sent: AtomicUsize,
    connections: AtomicUsize,
    /// Requests that a connection answers before it closes at the next one, unannounced.
    answers: AtomicUsize,
}

pub struct FakeOllama {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl FakeOllama {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State { answers: AtomicUsize::new(usize::MAX), ..State::default() });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        let fake = Self { address, state, task };
        let json = |value: Value| Script::ok(vec![Step::Send(value.to_string())]);
        fake.on("/api/version", json(lines::version()));
        fake.on("/api/tags", json(lines::tags(&[("qwen2.5:7b", "aa"), ("llava:latest", "bb")])));
        fake.on("/api/show", json(lines::show(&["completion", "vision", "tools"])));
        fake.on("/api/chat", Script::chat(&["Hel", "lo", " wörld"], Duration::ZERO));
        fake.on(
            "/api/generate",
            Script::ok(vec![
                Step::Send(generate_line("Par")),
                Step::Send(generate_line("is")),
                Step::Send(last_line(2)),
            ]),
        );
        fake.on("/api/ps", json(lines::running()));
        fake.on("/api/pull", Script::ok(vec![Step::Send(lines::pull())]));
        fake.on("/api/copy", Script::ok(Vec::new()));
        fake.on("/api/delete", Script::ok(Vec::new()));
        fake
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this path is answered like this; `/api/show llava` is for one model only, and
    /// `/api/embed truncate` for requests that ask for a cut.
    pub fn on(&self, path: &str, script: Script) {
        let mut scripts = self.state.scripts.lock().expect("no test panics here");
        scripts.retain(|(known, _)| known != path);
        scripts.push((path.to_owned(), script));
    }

    /// From now on this model embeds like this.
    pub fn embeds(&self, model: &str, how: Embeds) {
        self.state.embeds.lock().expect("no test panics here").insert(model.to_owned(), how);
    }

    /// From now on each connection closes, without a word, at the request after this many.
    pub fn close_after(&self, answers: usize) {
        self.state.answers.store(answers, SeqCst);
    }

    /// The bodies sent to this path so far.
    pub fn requests(&self, path: &str) -> Vec<Value> {
        let bodies = self.bodies(path);
        bodies.iter().map(|body| serde_json::from_str(body).unwrap_or(Value::Null)).collect()
    }

    /// The same, byte for byte.
    pub fn bodies(&self, path: &str) -> Vec<String> {
        let requests = self.state.requests.lock().expect("no test panics here");
        let bodies = requests.iter().filter(|(known, ..)| known == path);
        bodies.map(|(_, _, body)| String::from_utf8(body.clone()).expect("UTF-8")).collect()
    }

    /// A header of the latest request to this path.
    pub fn header(&self, path: &str, name: &str) -> Option<String> {
        let requests = self.state.requests.lock().expect("no test panics here");
        let (_, head, _) = requests.iter().rev().find(|(known, ..)| known == path)?;
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(line.to_owned())
    }

    pub fn aborted(&self) -> usize {
        self.state.aborted.load(SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    pub fn chunks_sent(&self) -> usize {
        self.state.chunks_sent.load(SeqCst)
    }
}

impl Drop for FakeOllama {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answers for State {
    fn connected(&self) {
        self.connections.fetch_add(1, SeqCst);
    }

    async fn answer(&self, stream: &mut TcpStream, request: &Request<'_>, before: usize) -> bool {
        let (path, body) = (request.path(), request.body);
        let script = self.script(path, body);
        let recorded = (path.to_owned(), request.head.to_owned(), body.to_vec());
        self.requests.lock().expect("no test panics here").push(recorded);
        before < self.answers.load(SeqCst) && answer(stream, &script, self).await
    }
}

impl State {
    fn script(&self, path: &str, body: &[u8]) -> Script {
        let scripts = self.scripts.lock().expect("no test panics here");
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let with_model = format!("{path} {}", body["model"].as_str().unwrap_or_default());
        let found = |path: &str| scripts.iter().find(|(known, _)| known == path);
        let cut = (body["truncate"] == true).then(|| found(&format!("{path} truncate"))).flatten();
        let script = cut.or_else(|| found(&with_model)).or_else(|| found(path));
        match script {
            Some((_, script)) => script.clone(),
            None if path == "/api/embed" => self.embeddings(&body),
            None => Script::error(404, "no such path"),
        }
    }
}

impl State {
    fn embeddings(&self, body: &Value) -> Script {
        let model = body["model"].as_str().unwrap_or_default();
        let how = self.embeds.lock().expect("no test panics here").get(model).copied().unwrap_or_default();
        let mut inputs = body["input"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let script = if inputs.any(|input| input.len() > how.longest) {
            Script::error(400, "the input length exceeds the context length")
        } else {
            Script::ok(vec![Step::Send(lines::embeddings(body).to_string())])
        };
        Script { delay: how.delay, ..script }
    }
}

/// Plays the script; false when the connection is over.
async fn answer(stream: &mut TcpStream, script: &Script, state: &State) -> bool {
    match script.delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => return watch(stream, state, Duration::from_secs(3600)).await,
    }
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        script.status
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    for (number, step) in script.steps.iter().enumerate() {
        match step {
            Step::Send(text) => {
                let is_last = number + 1 == script.steps.len();
                let chunk = chunk(text) + if is_last { LAST_CHUNK } else { "" };
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    state.aborted.fetch_add(1, SeqCst);
                    return false;
                }
                state.chunks_sent.fetch_add(1, SeqCst);
                if is_last {
                    return true;
                }
            }
            Step::Pause(pause) => {
                if !watch(stream, state, *pause).await {
                    return false;
                }
            }
            Step::Cut => return false,
            Step::Hang => return watch(stream, state, Duration::from_secs(3600)).await,
        }
    }
    stream.write_all(LAST_CHUNK.as_bytes()).await.is_ok()
}

/// Waits; false as soon as the other side closes the connection.
async fn watch(stream: &mut TcpStream, state: &State, time: Duration) -> bool {
    let mut byte = [0; 1];
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        read = stream.read(&mut byte) => {
            if matches!(read, Ok(0) | Err(_)) {
                state.aborted.fetch_add(1, SeqCst);
            }
            false
        }
    }
}

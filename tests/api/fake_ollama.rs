//! A scripted Ollama: a TCP server that answers as told, including slowly, partly and wrongly. It
//! speaks raw HTTP/1.1 so that it can also break it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
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
        let body = serde_json::json!({ "error": message }).to_string();
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

const CREATED: &str = "2025-10-01T12:00:00.123456789Z";

/// A token, its fields in Ollama's order.
pub fn chat_line(text: &str) -> String {
    let text = serde_json::json!(text);
    format!(
        "{{\"model\":\"m\",\"created_at\":\"{CREATED}\",\"message\":{{\"role\":\"assistant\",\"content\":{text}}},\"done\":false}}\n"
    )
}

pub fn generate_line(text: &str) -> String {
    let text = serde_json::json!(text);
    format!("{{\"model\":\"m\",\"created_at\":\"{CREATED}\",\"response\":{text},\"done\":false}}\n")
}

pub fn last_line(tokens: usize) -> String {
    serde_json::json!({
        "model": "m", "message": {"role": "assistant", "content": ""}, "response": "", "done": true,
        "done_reason": "stop", "context": [1, 2, 3], "total_duration": 5_000_000, "load_duration": 1_000_000,
        "prompt_eval_count": 7, "prompt_eval_duration": 2_000_000, "eval_count": tokens, "eval_duration": 2_000_000
    })
    .to_string()
        + "\n"
}

#[derive(Default)]
struct State {
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
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                tokio::spawn(connection(stream, Arc::clone(&shared)));
            }
        });
        let fake = Self { address, state, task };
        let json = |value: Value| Script::ok(vec![Step::Send(value.to_string())]);
        fake.on("/api/version", json(serde_json::json!({"version": "0.99.0"})));
        let tag = |name: &str, digest: &str| serde_json::json!({"name": name, "size": 4_700_000_000_u64, "modified_at": "2025-10-01T12:00:00.5+02:00", "digest": digest, "details": {"family": "qwen2", "parameter_size": "7.6B", "quantization_level": "Q4_K_M"}});
        fake.on(
            "/api/tags",
            json(serde_json::json!({"models": [tag("qwen2.5:7b", "aa"), tag("llava:latest", "bb")]})),
        );
        fake.on("/api/show", json(serde_json::json!({"capabilities": ["completion", "vision", "tools"], "model_info": {"qwen2.context_length": 32768}})));
        fake.on("/api/chat", Script::chat(&["Hel", "lo", " wörld"], Duration::ZERO));
        fake.on(
            "/api/generate",
            Script::ok(vec![
                Step::Send(generate_line("Par")),
                Step::Send(generate_line("is")),
                Step::Send(last_line(2)),
            ]),
        );
        fake
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this path is answered like this; `/api/show llava` is for one model only, and
    /// `/api/embed truncate` for requests that ask for a cut.
    pub fn on(&self, path: &str, script: Script) {
        let mut scripts = self.state.scripts.lock().unwrap();
        scripts.retain(|(known, _)| known != path);
        scripts.push((path.to_owned(), script));
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
        let requests = self.state.requests.lock().unwrap();
        let bodies = requests.iter().filter(|(known, ..)| known == path);
        bodies.map(|(_, _, body)| String::from_utf8(body.clone()).unwrap()).collect()
    }

    /// A header of the latest request to this path.
    pub fn header(&self, path: &str, name: &str) -> Option<String> {
        let requests = self.state.requests.lock().unwrap();
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

async fn connection(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    let mut answered = 0;
    while let Some((path, head, body)) = read_request(&mut stream, &mut buffer).await {
        let script = {
            let scripts = state.scripts.lock().unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let with_model = format!("{path} {}", body["model"].as_str().unwrap_or_default());
            let found = |path: &str| scripts.iter().find(|(known, _)| known == path);
            let cut = (body["truncate"] == true).then(|| found(&format!("{path} truncate"))).flatten();
            cut.or_else(|| found(&with_model)).or_else(|| found(&path)).map(|(_, script)| script.clone())
        };
        state.requests.lock().unwrap().push((path, head, body));
        if answered >= state.answers.load(SeqCst) {
            return;
        }
        answered += 1;
        let script = script.unwrap_or_else(|| Script::error(404, "no such path"));
        if !answer(&mut stream, &script, &state).await {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                let path = head.split(' ').nth(1)?.to_owned();
                buffer.drain(..end + 4 + length);
                return Some((path, head, body));
            }
        }
        let mut piece = [0; 16 * 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&piece[..read]),
        }
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
    const END: &str = "0\r\n\r\n";
    for (number, step) in script.steps.iter().enumerate() {
        match step {
            Step::Send(text) => {
                let is_last = number + 1 == script.steps.len();
                let end = if is_last { END } else { "" };
                let chunk = format!("{:x}\r\n{text}\r\n{end}", text.len());
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
    stream.write_all(END.as_bytes()).await.is_ok()
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

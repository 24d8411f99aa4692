//! The log of the real program: what is in it, what must never be, and that nobody has to read it.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{KEY, eventually},
    ollama::scripted::{FakeOllama, Script},
};

struct Program {
    child: Child,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Program {
    /// The program in front of a scripted Ollama, which it asks before this returns, and its standard
    /// error.
    fn start(ollama: &FakeOllama, settings: &[(&str, &str)]) -> (Self, ChildStderr) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_simpleton"));
        command.env_clear().current_dir(&folder).arg("serve").stdin(Stdio::null());
        command.envs([("PORT", "0"), ("API_KEYS", KEY), ("OLLAMA_BASE_URL", &ollama.url())]);
        command.env("DATA_DIR", folder.path().join("data")).envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let url = first.split_once(" on ").unwrap().1.to_owned();
        let stderr = child.stderr.take().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        (Self { child, url, client, _folder: folder }, stderr)
    }

    async fn chat(&self, prompt: &str, stream: bool) -> u16 {
        let body = json!({"messages": [{"role": "user", "content": prompt}], "stream": stream});
        let request = self.client.post(format!("{}/inference/chat", self.url)).header("x-api-key", KEY);
        let request =
            request.header("x-request-id", format!("r-{stream}")).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        response.bytes().await.unwrap();
        status
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects the output as it arrives.
fn read(mut stderr: ChildStderr) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut piece) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    });
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_prompts_nor_secrets_are_logged_at_any_level() {
    let ollama = FakeOllama::start().await;
    let settings = [
        ("LOG_LEVEL", "trace"),
        ("LOG_FORMAT", "json"),
        ("ALERT_INTERVAL_S", "1"),
        ("ALERT_DISK_FREE_MB", "1000000000"),
        ("ALERT_WEBHOOK_URL", "http://user:canary-password@127.0.0.1:1/canary-path?token=canary-token"),
        ("ALERT_WEBHOOK_SECRET", "canary-signing-secret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary-collector-key"),
    ];
    let (mut program, stderr) = Program::start(&ollama, &settings);
    let log = read(stderr);
    for stream in [false, true] {
        assert_eq!(program.chat("canary-prompt", stream).await, 200);
    }
    ollama.on("/api/chat", Script::error(500, "no"));
    assert_eq!(program.chat("another canary-prompt", false).await, 502);
    let wrong = program.client.get(format!("{}/models?key=canary-query", program.url));
    assert_eq!(wrong.header("x-api-key", "canary-wrong-key").send().await.unwrap().status(), 401);
    let token = program.client.post(format!("{}/dashboard/session", program.url));
    assert_eq!(token.body(r#"{"token": "canary-sign-in"}"#).send().await.unwrap().status(), 401);
    let seen = |text: &str| log.lock().unwrap().contains(text);
    eventually("the webhook has failed", async || seen("an alert message is not delivered yet")).await;
    eventually("the collector has failed", async || seen("does not accept traces")).await;
    program.stop();
    eventually("the last line is there", async || seen("\"stopped\"")).await;
    let log = log.lock().unwrap();
    for secret in ["canary", KEY, "wörld"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_line_at_its_end_and_its_id_on_every_line() {
    let ollama = FakeOllama::start().await;
    let (mut program, stderr) = Program::start(&ollama, &[("LOG_FORMAT", "json")]);
    let log = read(stderr);
    assert_eq!(program.chat("hi", true).await, 200);
    ollama.on("/api/chat", Script::error(500, "no"));
    assert_eq!(program.chat("another", false).await, 502);
    program.stop();
    eventually("the last line is there", async || log.lock().unwrap().contains("\"stopped\"")).await;
    let lines: Vec<Value> =
        log.lock().unwrap().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |id: &str| lines.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    let answered = of("r-true");
    assert_eq!(answered.len(), 1, "{answered:?}");
    let line = answered[0];
    assert_eq!((&line["message"], &line["level"]), (&json!("request"), &json!("INFO")));
    for (field, value) in [
        ("method", json!("POST")),
        ("path", json!("/inference/chat")),
        ("endpoint", json!("/inference/chat")),
        ("status", json!(200)),
        ("model", json!("qwen2.5:7b")),
        ("cache", json!("miss")),
        ("prompt_tokens", json!(7)),
        ("completion_tokens", json!(3)),
        ("error", Value::Null),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() >= line["first_token_ms"].as_f64().unwrap());
    assert_eq!(line.get("trace_id"), None, "nobody else knows it");
    let failed = of("r-false");
    assert_eq!(failed.len(), 2, "why, and the request's line: {failed:?}");
    assert_eq!((&failed[0]["level"], &failed[1]["error"]), (&json!("WARN"), &json!("bad_gateway")));
    assert_eq!((&failed[1]["level"], &failed[1]["status"]), (&json!("INFO"), &json!(502)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_has_one_line_and_scrapes_have_none() {
    let ollama = FakeOllama::start().await;
    let (mut program, stderr) = Program::start(&ollama, &[("LOG_FORMAT", "json")]);
    let log = read(stderr);
    for path in ["/metrics", "/health", "/health/live", "/health/ready", "/analytics/stats", "/docs", "/"] {
        let asked = program.client.get(format!("{}{path}", program.url)).send().await.unwrap();
        assert_eq!(asked.status(), 200, "{path}");
    }
    // One that is refused, and one that changes something, are worth a line.
    let refused = program.client.get(format!("{}/analytics/errors", program.url)).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let clear = program.client.delete(format!("{}/analytics/cache", program.url)).header("x-api-key", KEY);
    assert_eq!(clear.send().await.unwrap().status(), 200);
    program.stop();
    eventually("the last line is there", async || log.lock().unwrap().contains("\"stopped\"")).await;
    let lines: Vec<Value> =
        log.lock().unwrap().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let requests: Vec<&str> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .filter_map(|line| line["path"].as_str())
        .collect();
    assert_eq!(requests, ["/analytics/errors", "/analytics/cache"]);
    let started: Vec<&Value> = lines.iter().filter(|line| line["message"] == "started").collect();
    assert_eq!(started.len(), 1, "{lines:?}");
    let told =
        |field: &str| started[0][field].as_str().unwrap_or_else(|| panic!("{field} in {}", started[0]));
    assert_eq!(format!("http://{}", told("address")), program.url);
    assert_eq!((told("version"), told("backend"), told("cache")), ("0.1.0", "ollama", "embedded"));
    assert!(told("models").contains("qwen2.5:7b") && told("backend_version") == "0.99.0");
    assert!(told("history").ends_with("data/state/history.db") && told("data_dir").ends_with("/data"));
}

/// tracing would panic within a request when standard error is closed.
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_when_standard_error_is_closed() {
    let ollama = FakeOllama::start().await;
    let (mut program, stderr) = Program::start(&ollama, &[]);
    drop(stderr);
    for stream in [false, true] {
        assert_eq!(program.chat("hi", stream).await, 200);
    }
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_when_nobody_reads_standard_error() {
    let ollama = FakeOllama::start().await;
    let (program, mut stderr) = Program::start(&ollama, &[("LOG_LEVEL", "info")]);
    // A pipe holds 64 kB, which is some 300 lines.
    for _ in 0..1000 {
        let asked =
            program.client.get(format!("{}/models", program.url)).timeout(Duration::from_secs(20)).send();
        assert_eq!(asked.await.unwrap().status(), 401);
    }
    // Once somebody reads, everything is there.
    let read = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(&mut stderr).lines();
        let requests = lines.by_ref().map(Result::unwrap).filter(|line| line.contains(" request "));
        requests.take(1000).count()
    });
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap(), 1000);
}

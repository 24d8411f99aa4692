//! The real program, killed under load and held to files of a size.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    harness::{KEY, eventually, json as body},
    ollama::{
        lines::{generate_line, last_line},
        scripted::{FakeOllama, Script, Step},
    },
};

/// Gives the server and its address.
pub async fn serve(folder: &Path, ollama: &str) -> (Child, String) {
    serve_by(Command::new(env!("CARGO_BIN_EXE_simpleton")), folder, ollama).await
}

pub async fn serve_by(mut command: Command, folder: &Path, ollama: &str) -> (Child, String) {
    command.arg("serve").current_dir(folder).env_clear().kill_on_drop(true);
    command.env("PORT", "0").env("API_KEYS", KEY).env("DATA_DIR", folder).env("OLLAMA_BASE_URL", ollama);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let url = line.trim().rsplit_once(' ').unwrap().1.to_owned();
    (child, url)
}

#[tokio::test]
async fn a_kill_under_load_loses_the_last_seconds_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut server, url) = serve(folder.path(), &ollama.url()).await;
    let began = Instant::now();
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    let asking = (0..4).map(|_| async {
        let mut answered = Vec::new();
        while began.elapsed() < Duration::from_secs(8) {
            let request = client.post(format!("{url}/inference/chat")).header("x-api-key", KEY);
            request.body(hello.clone()).send().await.unwrap().bytes().await.unwrap();
            answered.push(began.elapsed());
        }
        answered
    });
    let answered: Vec<Duration> = futures_util::future::join_all(asking).await.concat();
    server.kill().await.unwrap();
    let killed = began.elapsed();
    let (_server, url) = serve(folder.path(), &ollama.url()).await;
    let told = async || {
        let reply = client.get(format!("{url}/analytics/stats?since_minutes=60")).send().await.unwrap();
        let stats: Value = body(reply).await;
        let chat = &stats["metrics"]["endpoint_breakdown"]["POST /inference/chat"];
        (chat["requests"].as_u64().unwrap(), stats["metrics"]["llm"].clone())
    };
    let (requests, llm) = told().await;
    let older = answered.iter().filter(|at| **at + Duration::from_secs(5) < killed).count() as u64;
    assert!(older > 0, "the machine was too slow for this test to say anything");
    assert!(
        (older..=answered.len() as u64).contains(&requests),
        "{older} <= {requests} <= {}",
        answered.len()
    );
    // The first one was asked, the others were known.
    assert_eq!(llm["qwen2.5:7b"]["requests"], 1);
    // Nothing is added to what was before.
    assert_eq!(told().await.0, requests);
}

#[tokio::test]
async fn a_file_at_the_limit_of_its_size_costs_only_the_writes() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut limited = Command::new("/bin/sh");
    // 128 or 256 kilobytes, by the shell's unit.
    limited.args(["-c", "ulimit -f 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_simpleton")]);
    let (mut server, url) = serve_by(limited, folder.path(), &ollama.url()).await;
    let key = |request: reqwest::RequestBuilder| request.header("x-api-key", KEY);
    let mut number = 0;
    eventually("the cache's file is full", async || {
        number += 1;
        let long = format!("{number} {}", "x".repeat(20_000));
        let words = [generate_line(&long), last_line(1)];
        ollama.on("/api/generate", Script::ok(words.map(Step::Send).to_vec()));
        let prompt = json!({"prompt": format!("question {number}")}).to_string();
        let request = key(client.post(format!("{url}/inference/generate"))).body(prompt);
        assert_eq!(body(request.send().await.unwrap()).await["response"], long);
        let cache = body(key(client.get(format!("{url}/analytics/cache"))).send().await.unwrap()).await;
        cache["cache"]["status"] != "available"
    })
    .await;
    assert_eq!(server.try_wait().unwrap(), None, "it runs");
}

//! Connections: how many there may be, who has to go, and what becomes of clients that are silent,
//! that have ended their side, or that do not read.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, eventually, start, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
    raw::{Raw, request},
};

const KB: usize = 1024;

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream})
}

/// The beginning of a head, of so many bytes.
fn head(bytes: usize) -> String {
    format!("GET / HTTP/1.1\r\nhost: x\r\nx-filler: {}", "a".repeat(bytes))
}

async fn is_served(server: &TestServer) -> bool {
    let mut client = Raw::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    client.read_head().await.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_head_has_64_kilobytes() {
    let server = start().await;
    for (bytes, status) in [(50 * KB, 200), (65 * KB, 431), (300 * KB, 431)] {
        let mut client = Raw::connect(server.address).await;
        client.send(format!("{}\r\n\r\n", head(bytes))).await;
        let answer = client.read_head().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {answer}");
    }
    // One that never ends is refused as soon as it is too long.
    let mut client = Raw::connect(server.address).await;
    client.send(head(65 * KB)).await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 431"));
    assert_eq!(client.read_to_end().await, "", "and closed");
}

/// Each holds a little less than a head may have, and all together more than they may.
#[tokio::test]
async fn of_unfinished_heads_that_are_too_much_together_the_oldest_go() {
    let server = start().await;
    let finished = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let posted = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    for before in ["", finished, posted] {
        let mut clients = Vec::new();
        for _ in 0..200 {
            let mut client = Raw::connect(server.address).await;
            client.send(format!("{before}{}", head(60 * KB))).await;
            clients.push(client);
            assert!(is_served(&server).await, "others are served meanwhile");
        }
        let open = || clients.iter().filter(|client| !client.is_closed()).count();
        // A reply is read away by the first look.
        open();
        eventually("no more than 8 MB are held", async || open() * 60 <= 8 * KB).await;
        assert!(open() > 100, "and not much less: {}", open());
        assert!(clients[..50].iter().all(Raw::is_closed), "the oldest have gone");
        assert!(!clients[199].is_closed(), "the newest has not");
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones_and_running_replies_do_not() {
    let server = start_with(&[("MAX_CONNECTIONS", "8")]).await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut stream = Raw::connect(server.address).await;
    stream.send(request("/inference/chat", &hello(true))).await;
    stream.read_to("data:").await;
    let mut kept = Raw::connect(server.address).await;
    kept.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    kept.read_head().await;
    let mut silent = Vec::new();
    for number in 0..40 {
        let mut client = Raw::connect(server.address).await;
        if number % 2 == 0 {
            client.send(head(10)).await;
        }
        silent.push(client);
        assert!(is_served(&server).await, "a good client always gets in");
    }
    assert!(silent[..30].iter().all(Raw::is_closed), "the oldest have gone");
    assert!(kept.is_closed(), "and a kept one without a request");
    assert!(!stream.is_closed(), "a reply that runs stays");
}

#[tokio::test]
async fn more_connections_than_there_are_places_wait_for_running_replies() {
    let server = start_with(&[("MAX_CONNECTIONS", "2")]).await;
    let line = Step::Send(chat_line("a"));
    server.ollama.on("/api/chat", Script::ok(vec![line, Step::Pause(Duration::from_secs(1))]));
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Raw::connect(server.address).await;
        stream.send(request("/inference/chat", &hello(true))).await;
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.read_to("data:").await;
    }
    assert!(is_served(&server).await, "as soon as one has ended");
}

#[tokio::test]
async fn one_address_has_no_more_than_its_connections() {
    let server = start_with(&[("MAX_CONNECTIONS_PER_ADDRESS", "2")]).await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Raw::connect(server.address).await;
        stream.send(request("/inference/chat", &hello(true))).await;
        stream.read_to("data:").await;
        streams.push(stream);
    }
    let refusal = Raw::connect(server.address).await.read_to_end().await;
    let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after: 5"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["status"], 429);
    drop(streams.pop());
    eventually("a place is free again", async || {
        let mut client = Raw::connect(server.address).await;
        client.try_send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        client.read_head().await.starts_with("HTTP/1.1 200")
    })
    .await;
    // One after the other, each in place of the last, which is idle.
    for _ in 0..10 {
        assert!(is_served(&server).await);
    }
}

#[tokio::test]
async fn with_few_files_silent_connections_lock_nobody_out_and_are_warned_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" serve", env!("CARGO_BIN_EXE_simpleton")])
        .env_clear()
        .envs([("PORT", "0"), ("API_KEYS", KEY), ("OLLAMA_BASE_URL", "http://127.0.0.1:1")])
        .env("DATA_DIR", folder.path().join("data"))
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let address = first.split_once("http://").unwrap().1.parse().unwrap();
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(Raw::connect(address).await);
    }
    for _ in 0..20 {
        let mut client = Raw::connect(address).await;
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(client.read_head().await.starts_with("HTTP/1.1 200"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let warned = log.lines().filter(|line| line.contains("connections")).count();
    assert!((1..=3).contains(&warned), "{log}");
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_reply() {
    let server = start().await;
    let pause = Step::Pause(Duration::from_millis(300));
    let steps = vec![pause.clone(), Step::Send(chat_line("Hello")), pause, Step::Send(last_line(1))];
    server.ollama.on("/api/chat", Script::ok(steps));
    for stream in [false, true] {
        let mut client = Raw::connect(server.address).await;
        client.send(request("/inference/chat", &hello(stream))).await;
        client.end().await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hello"), "{answer}");
        assert!(answer.contains("\"done\":true"), "{answer}");
    }
    // Two at once, of which the end comes with the second.
    let mut client = Raw::connect(server.address).await;
    client.send(request("/inference/chat", &hello(false)).repeat(2)).await;
    client.end().await;
    assert_eq!(client.read_to_end().await.matches("Hello").count(), 2);
    // A body that the end cuts off is still told at once.
    let mut client = Raw::connect(server.address).await;
    let whole = request("/inference/chat", &hello(false));
    client.send(&whole[..whole.len() - 5]).await;
    client.end().await;
    assert!(client.read_head().await.starts_with("HTTP/1.1 400"));
}

/// After some seconds it is asked whether it is there, by something that every client passes over.
#[tokio::test]
async fn a_client_that_has_ended_its_side_is_waited_for_as_long_as_it_is_there() {
    let server = start().await;
    let steps =
        vec![Step::Pause(Duration::from_secs(7)), Step::Send(chat_line("Hello")), Step::Send(last_line(1))];
    server.ollama.on("/api/chat", Script::ok(steps));
    let mut client = Raw::connect(server.address).await;
    client.send(request("/inference/chat", &hello(false))).await;
    client.end().await;
    let answer = client.read_to_end().await;
    let last = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer);
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("Hello"), "{answer}");
}

#[tokio::test]
async fn from_a_client_that_does_not_read_no_more_is_read() {
    let server = start().await;
    let mut client = Raw::connect(server.address).await;
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let mut sent = 0;
    // Until the system's buffers on both sides are full.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(2), async { client.try_send(&requests).await }).await
    {
        assert!(written, "the connection is open");
        sent += requests.len();
        assert!(sent < 64 * KB * KB, "the server reads on");
    }
    assert!(is_served(&server).await);
    assert!(client.read_to("\"openapi\"").await.starts_with("HTTP/1.1 200"));
}

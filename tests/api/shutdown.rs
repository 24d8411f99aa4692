//! How a server ends: what runs may finish for a while, then is told why it is cut off, and nobody
//! without a request delays it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, events, json as body, problem, start, start_with},
    ollama::{
        lines::chat_line,
        scripted::{Script, Step},
    },
    raw::{Raw, request},
};

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream})
}

async fn stop(server: TestServer) {
    tokio::time::timeout(Duration::from_secs(20), server.stop()).await.expect("it stops");
}

#[tokio::test]
async fn what_is_cut_off_is_told_and_counted_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("SHUTDOWN_TIMEOUT_S", "1"), ("DATA_DIR", folder.path().to_str().unwrap())];
    let server = start_with(&settings).await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut stream = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    stream.chunk().await.unwrap().unwrap();
    let whole = tokio::spawn(problem(server.post("/inference/chat", &hello(false))));
    let waiting = {
        server.ollama.on("/api/generate", Script { status: 200, steps: Vec::new(), delay: None });
        let request = json!({"prompt": "hi", "stream": true, "raw": true});
        server.post("/inference/generate", &request).send()
    };
    let waiting = tokio::spawn(waiting);
    let mut upload = Raw::connect(server.address).await;
    upload
        .send(&request("/inference/chat", &hello(false)).replace("content-length: ", "content-length: 1"))
        .await;
    crate::harness::eventually("all four have come", async || {
        // With the one that asks.
        server.metric("simpleton_requests_in_progress").await == 5.0
    })
    .await;
    stop(server).await;

    let text = stream.text().await.unwrap();
    let (name, told) = events(&text).pop().unwrap();
    assert_eq!((name.as_str(), &told["status"]), ("error", &json!(503)), "{text}");
    assert!(told["detail"].as_str().unwrap().contains("shutting down"), "{told}");
    let (status, told) = whole.await.unwrap();
    assert_eq!(status, 503, "{told}");
    let waiting = waiting.await.unwrap().unwrap();
    assert_eq!((waiting.status().as_u16(), waiting.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    let answer = upload.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("shutting down"), "{answer}");

    // The next server knows what the last one counted.
    let server = start_with(&settings).await;
    let errors = server.get("/analytics/errors").header("x-api-key", KEY).send().await.unwrap();
    let errors = body(errors).await;
    let statuses: Vec<_> = errors["errors"].as_array().unwrap().iter().map(|e| e["status"].clone()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3, "{errors}");
    assert!(!statuses.contains(&json!(499)), "nobody has left: {errors}");
}

#[tokio::test]
async fn who_has_no_request_does_not_delay_the_end() {
    let server = start_with(&[("SHUTDOWN_TIMEOUT_S", "60")]).await;
    let mut silent = Raw::connect(server.address).await;
    let mut half = Raw::connect(server.address).await;
    half.send("POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api").await;
    let mut kept = Raw::connect(server.address).await;
    kept.send("GET / HTTP/1.1\r\nhost: x\r\n\r\nGET").await;
    assert!(kept.read_head().await.starts_with("HTTP/1.1 200"));
    let begun = Instant::now();
    stop(server).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for client in [&mut silent, &mut half] {
        assert_eq!(client.read_to_end().await, "");
    }
}

#[tokio::test]
async fn who_does_not_read_does_not_delay_the_end() {
    let server = start_with(&[("SHUTDOWN_TIMEOUT_S", "60")]).await;
    let mut client = Raw::connect(server.address).await;
    let asked = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";
    client.send(asked.repeat(100)).await;
    client.read_head().await;
    let begun = Instant::now();
    stop(server).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_that_runs_when_the_server_stops_gets_its_reply() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::chat(&["a", "b"], Duration::from_millis(500)));
    let mut client = Raw::connect(server.address).await;
    client.send(request("/inference/chat", &hello(false))).await;
    crate::harness::eventually("it has come", async || !server.ollama.requests("/api/chat").is_empty()).await;
    let stopping = tokio::spawn(stop(server));
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    stopping.await.unwrap();
}

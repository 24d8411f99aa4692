//! Streams that have nothing to say for a while.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{TestServer, events, eventually, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

const PING: &str = ": ping\n\n";

fn hello() -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": true})
}

async fn start() -> TestServer {
    let settings = [("STREAM_HEADERS_AFTER_S", "1"), ("STREAM_PING_S", "1")];
    start_with(&settings).await
}

#[tokio::test]
async fn a_silent_stream_sends_comments_between_its_events() {
    let server = start().await;
    let pause = Step::Pause(Duration::from_millis(2500));
    let steps = vec![Step::Send(chat_line("a")), pause, Step::Send(chat_line("b")), Step::Send(last_line(2))];
    server.ollama.on("/api/chat", Script::ok(steps));
    let response = server.post("/inference/chat", &hello()).send().await.unwrap();
    assert!(response.headers()["cache-status"].to_str().unwrap().contains("fwd=miss"));
    let text = response.text().await.unwrap();
    let first = text.find("\"content\":\"a\"").unwrap();
    let between = &text[first..text.find("\"content\":\"b\"").unwrap()];
    assert!((1..=3).contains(&between.matches(PING).count()), "{text}");
    assert_eq!(text.matches(PING).count(), between.matches(PING).count(), "and nowhere else");
    assert_eq!(events(&text.replace(PING, "")).len(), 3);
    // What is kept is what was said.
    let again = server.post("/inference/chat", &hello()).send().await.unwrap().text().await.unwrap();
    assert!(!again.contains(PING) && again.contains("\"content\":\"ab\""), "{again}");
}

#[tokio::test]
async fn a_stream_begins_before_its_first_event_when_that_takes_long() {
    let server = start().await;
    let late = Script { delay: Some(Duration::from_millis(2500)), ..Script::chat(&["a"], Duration::ZERO) };
    server.ollama.on("/api/chat", late);
    let mut response = server.post("/inference/chat", &hello()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.chunk().await.unwrap().unwrap(), PING);
    let text = response.text().await.unwrap();
    assert_eq!(events(&text.replace(PING, "")).last().unwrap().1["done"], true, "{text}");
    // The model's first token is not what the client was sent first.
    let sum = server.metric("simpleton_llm_time_to_first_token_seconds_sum{model=\"qwen2.5:7b\"}").await;
    assert!(sum > 2.0, "{sum}");
}

#[tokio::test]
async fn an_error_after_that_is_an_event() {
    let server = start().await;
    let failing = Script { delay: Some(Duration::from_millis(1500)), ..Script::error(500, "no") };
    server.ollama.on("/api/chat", failing);
    let response = server.post("/inference/chat", &hello()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    let (name, problem) = events(&text.replace(PING, "")).pop().unwrap();
    assert_eq!((name.as_str(), &problem["status"]), ("error", &json!(502)), "{text}");
    let counted = "simpleton_errors_total{endpoint=\"/inference/chat\",error_type=\"bad_gateway\"}";
    eventually("it is counted", async || server.metric(counted).await == 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_silent_stream_stops_the_backend() {
    let server = start().await;
    server.ollama.on("/api/chat", Script { delay: None, ..Script::ok(Vec::new()) });
    let mut response = server.post("/inference/chat", &hello()).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    eventually("the backend is let go", async || server.ollama.aborted() > 0).await;
}

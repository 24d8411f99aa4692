//! Tests of failing backends, and of requests at shutdown.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{
        KEY, TestServer, config, events, eventually, json as body, problem, start, start_uncached, start_with,
    },
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream})
}

/// Every fault before the first token is an ordinary error, streamed or not.
async fn check_error(server: &TestServer, script: Script, status: u16, detail: &str) {
    server.ollama.on("/api/chat", script);
    for stream in [false, true] {
        let (got, problem) = problem(server.post("/inference/chat", &hello(stream))).await;
        assert_eq!(got, status, "stream {stream}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        assert!(!problem.to_string().contains("127.0.0.1"), "no address of ours: {problem}");
    }
}

#[tokio::test]
async fn every_way_a_backend_can_fail_has_its_status() {
    let server = start_with(&[("BACKEND_FIRST_BYTE_TIMEOUT_S", "1"), ("BACKEND_IDLE_TIMEOUT_S", "1")]).await;
    let line = chat_line("Hel");
    let send = |text: &str| Step::Send(text.to_owned());
    let hanging = Script { status: 200, steps: Vec::new(), delay: None };
    check_error(&server, hanging, 504, "did not respond within 1 s").await;
    check_error(&server, Script::ok(vec![Step::Hang]), 504, "did not respond within 1 s").await;
    check_error(&server, Script::ok(vec![Step::Cut]), 502, "closed the connection mid-response").await;
    check_error(&server, Script::ok(vec![send("{\"mess")]), 502, "invalid response").await;
    check_error(&server, Script::ok(vec![send("<html>oops</html>\n")]), 502, "invalid response").await;
    check_error(&server, Script::ok(vec![send("[1,2]\n")]), 502, "invalid response").await;
    check_error(&server, Script::ok(vec![]), 502, "before it was complete").await;
    check_error(
        &server,
        Script::ok(vec![send("{\"error\":\"secret path /x\"}\n")]),
        502,
        "failed in the middle",
    )
    .await;
    check_error(&server, Script::error(500, "cuda: /dev/nvidia0 exploded"), 502, "status 500").await;
    check_error(&server, Script::error(500, &"a long page ".repeat(100_000)), 502, "status 500").await;
    let cut = Script { status: 500, ..Script::ok(vec![send("cuda: "), Step::Cut]) };
    check_error(&server, cut, 502, "status 500").await;
    check_error(&server, Script::error(503, "busy"), 503, "too busy").await;
    check_error(&server, Script::error(400, "m does not support tools"), 422, "does not support tools").await;
    // Bytes that drip in but never make a line are as good as none.
    let drip = (0..40).flat_map(|_| [send(" "), Step::Pause(Duration::from_millis(100))]).collect();
    check_error(&server, Script::ok(drip), 504, "paused for more than 1 s").await;
    // After all this it still works.
    server.ollama.on("/api/chat", Script::ok(vec![send(&line), send(&last_line(1))]));
    assert_eq!(server.post("/inference/chat", &hello(false)).send().await.unwrap().status(), 200);
}

/// Headers may come before the model is loaded and has read the prompt.
#[tokio::test]
async fn the_first_byte_of_a_body_has_the_time_of_a_first_byte() {
    let server = start_with(&[("BACKEND_FIRST_BYTE_TIMEOUT_S", "60"), ("BACKEND_IDLE_TIMEOUT_S", "1")]).await;
    let late =
        vec![Step::Pause(Duration::from_secs(2)), Step::Send(chat_line("Hel")), Step::Send(last_line(1))];
    server.ollama.on("/api/chat", Script::ok(late));
    assert_eq!(server.post("/inference/chat", &hello(false)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_fault_after_the_first_token_is_an_error_event() {
    let server = start_with(&[("BACKEND_IDLE_TIMEOUT_S", "1")]).await;
    for (last, status) in [
        (Step::Cut, 502),
        (Step::Hang, 504),
        (Step::Send("garbage\n".into()), 502),
        (Step::Send("{\"error\":\"x\"}\n".into()), 502),
    ] {
        // The pause lets the first token leave before the fault.
        let pause = Step::Pause(Duration::from_millis(100));
        server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("Hel")), pause, last.clone()]));
        let response = server.post("/inference/chat", &hello(true)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let events = events(&response.text().await.unwrap());
        assert_eq!(events[0].1["message"]["content"], "Hel");
        let (name, problem) = events.last().unwrap();
        assert_eq!((name.as_str(), &problem["status"]), ("error", &json!(status)), "{last:?}: {problem}");
    }
    assert_eq!(
        server
            .metric("simpleton_errors_total{endpoint=\"/inference/chat\",error_type=\"bad_gateway\"}")
            .await,
        3.0
    );
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_a_503() {
    let server = start_with(&[("OLLAMA_BASE_URL", "http://127.0.0.1:1")]).await;
    let response = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "2");
    let (status, problem) = problem(server.post("/inference/chat", &hello(false))).await;
    assert_eq!((status, problem["detail"].as_str().unwrap()), (503, "Ollama cannot be reached."));
}

#[tokio::test]
async fn a_kept_connection_that_closes_is_replaced_once() {
    let server = start_uncached().await;
    let asked = || server.ollama.requests("/api/chat").len();
    // (how it is asked, how often the backend has been asked after it)
    for (stream, expected) in [(false, 1), (false, 3), (true, 5)] {
        let answer = server.post("/inference/chat", &hello(stream)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("lo"));
        assert_eq!(asked(), expected, "a kept connection is tried, and then a new one");
        server.ollama.close_after(1);
    }
    server.ollama.close_after(0);
    let (status, problem) = problem(server.post("/inference/chat", &hello(false))).await;
    assert_eq!((status, asked()), (502, 7), "and it is not asked a third time: {problem}");
}

#[tokio::test]
async fn a_connection_is_kept_when_its_end_of_a_reply_comes_late() {
    let server = start_uncached().await;
    let late = Step::Pause(Duration::from_millis(20));
    let steps = vec![Step::Send(chat_line("hi")), Step::Send(last_line(1)), late];
    server.ollama.on("/api/chat", Script::ok(steps));
    eventually("the same connections are used again", async || {
        let before = server.ollama.connections();
        // More often than there are connections from asking for the models.
        for _ in 0..5 {
            let answer = server.post("/inference/chat", &hello(true)).send().await.unwrap();
            assert!(answer.text().await.unwrap().contains("hi"));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        server.ollama.connections() == before
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_backend() {
    let server = start().await;
    let words = vec!["word"; 10_000];
    server.ollama.on("/api/chat", Script::chat(&words, Duration::from_millis(5)));
    for stream in [true, false] {
        let before = server.ollama.aborted();
        let request = server.post("/inference/chat", &hello(stream)).send();
        if stream {
            let mut response = request.await.unwrap();
            response.chunk().await.unwrap().unwrap();
            let sent = server.ollama.chunks_sent();
            drop(response);
            eventually("the backend is let go", async || server.ollama.aborted() > before).await;
            assert!(server.ollama.chunks_sent() < sent + 1000, "long before the end");
        } else {
            // The whole reply would take 50 s; the client waits for a fraction of one.
            assert!(tokio::time::timeout(Duration::from_millis(300), request).await.is_err());
            eventually("the backend is let go", async || server.ollama.aborted() > before).await;
        }
    }
    eventually("both are counted as left", async || {
        let left = "simpleton_requests_total{method=\"POST\",endpoint=\"/inference/chat\",status=\"499\"}";
        server.metric(left).await == 2.0
    })
    .await;
    // The request that asks is itself in progress.
    assert_eq!(server.metric("simpleton_requests_in_progress").await, 1.0);
}

#[tokio::test]
async fn running_replies_finish_when_the_server_stops() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::chat(&["a", "b", "c", "d"], Duration::from_millis(100)));
    let mut response = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    let address = server.address;
    let stopping = tokio::spawn(server.stop());
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(events(std::str::from_utf8(&text).unwrap()).last().unwrap().1["done"], true);
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn replies_that_do_not_finish_are_cut_off_at_the_limit() {
    let server = start_with(&[("SHUTDOWN_TIMEOUT_S", "1")]).await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut response = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(20), server.stop()).await.expect("it stops");
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let settings = config(&[("PORT", "0"), ("DATA_DIR", path), ("OLLAMA_BASE_URL", "http://127.0.0.1:1")]);
    let first = simpleton::server::Server::prepare(&settings).await.unwrap();
    let error = simpleton::server::Server::prepare(&settings).await.err().unwrap();
    assert!(error.message().contains("Another Simpleton") && error.message().contains("DATA_DIR"), "{error}");
    drop(first);
    simpleton::server::Server::prepare(&settings).await.expect("free again");
}

#[tokio::test]
async fn a_taken_port_is_said_plainly() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = server.address.port().to_string();
    let settings = config(&[
        ("PORT", &port),
        ("DATA_DIR", folder.path().to_str().unwrap()),
        ("OLLAMA_BASE_URL", "http://127.0.0.1:1"),
    ]);
    let error = simpleton::server::Server::prepare(&settings).await.err().unwrap();
    assert!(error.message().contains(&port) && error.message().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_said_plainly() {
    // A file where the folder should be: this stops root as well.
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("data");
    let settings = config(&[
        ("PORT", "0"),
        ("DATA_DIR", path.to_str().unwrap()),
        ("OLLAMA_BASE_URL", "http://127.0.0.1:1"),
    ]);
    let error = simpleton::server::Server::prepare(&settings).await.err().unwrap();
    assert!(error.message().contains("data directory") && error.message().contains("DATA_DIR"), "{error}");
}

#[tokio::test]
async fn an_empty_reply_of_a_model_is_a_reply() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(last_line(0))]));
    let reply = body(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await;
    assert_eq!((&reply["message"]["content"], &reply["done"]), (&json!(""), &json!(true)));
}

#[tokio::test]
async fn a_reply_without_end_is_cut_off_whether_it_is_kept_or_not() {
    let server = start().await;
    let call = json!({"model": "m", "message": {"role": "assistant", "content": "", "tool_calls":
        [{"function": {"name": "f", "arguments": {"a": "x".repeat(1 << 20)}}}]}, "done": false});
    for line in [chat_line(&"x".repeat(1 << 20)), format!("{call}\n")] {
        let steps = std::iter::repeat_n(Step::Send(line), 40).chain([Step::Send(last_line(40))]);
        server.ollama.on("/api/chat", Script::ok(steps.collect()));
        for directive in ["no-store", "no-cache"] {
            let request = server.post("/inference/chat", &hello(false)).header("cache-control", directive);
            let (status, problem) = problem(request).await;
            assert_eq!(status, 502, "{directive}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains("32 MB"), "{directive}: {problem}");
        }
    }
}

#[tokio::test]
async fn absurd_figures_of_a_backend_cost_nobody_an_answer() {
    let server = start_uncached().await;
    let last = json!({
        "message": {"role": "assistant", "content": ""}, "done": true, "prompt_eval_count": u64::MAX,
        "eval_count": 1_u64 << 63, "total_duration": u64::MAX, "load_duration": u64::MAX,
        "prompt_eval_duration": u64::MAX, "eval_duration": u64::MAX
    });
    let absurd = vec![Step::Send(chat_line("Hi")), Step::Send(format!("{last}\n"))];
    server.ollama.on("/api/chat", Script::ok(absurd));
    for _ in 0..3 {
        let reply = body(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await;
        assert_eq!(
            (&reply["message"]["content"], &reply["total_duration"]),
            (&json!("Hi"), &json!(u64::MAX))
        );
    }
    let most = 3 * u64::from(u32::MAX);
    let series = "simpleton_llm_tokens_total{model=\"qwen2.5:7b\",token_type=\"prompt\"}";
    assert_eq!(server.metric(series).await, most as f64);
    let usage = server.get("/analytics/usage?by=model").header("x-api-key", KEY).send().await.unwrap();
    let usage = &body(usage).await["usage"][0];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(most), &json!(most)));
}

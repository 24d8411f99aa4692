//! Tests of invalid requests, one row each.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{KEY, TestServer, pointers_of, problem, start, start_with};

#[tokio::test]
async fn keys_that_do_not_open() {
    let server = start().await;
    let post = || server.client.post(server.url("/inference/chat")).body("not even read");
    for (request, opens) in [
        (post(), false),
        (post().header("x-api-key", "wrong-key-0123456789"), false),
        (post().header("x-api-key", ""), false),
        (post().header("x-api-key", b"\xff\xfe".as_slice()), false),
        (post().header("authorization", "Bearer wrong"), false),
        (post().header("authorization", format!("Basic {KEY}")), false),
        (post().header("authorization", KEY), false),
        (post().header("x-api-key", KEY).header("authorization", format!("Bearer {KEY}")), true),
    ] {
        let response = request.try_clone().unwrap().send().await.unwrap();
        if opens {
            assert_eq!(response.status(), 400, "let in, and then the body is looked at");
        } else {
            assert_eq!(response.headers()["www-authenticate"], "ApiKey");
            assert_eq!(problem(request).await.0, 401);
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let server = start().await;
    for (body, status, detail) in [
        ("", 400, "The body is empty; send JSON in it."),
        (" \n", 400, "The body is empty; send JSON in it."),
        ("{", 400, "is not valid JSON"),
        ("{\"messages\": [}", 400, "is not valid JSON"),
        ("{\"messages\": [{\"role\": \"user\", \"content\": \"\\ud800\"}]}", 400, "is not valid JSON"),
        ("\u{feff}{}", 400, "is not valid JSON"),
        ("[1]", 422, ""),
        ("null", 422, ""),
        ("{}", 422, "messages is required"),
    ] {
        let (got, problem) = problem(server.post_text("/inference/chat", body)).await;
        assert_eq!(got, status, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
    }
    // A private name of serde_json's, to which its own tree gives a meaning: the text is JSON once more,
    // one nest within another. This overflowed the stack.
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\u005c").replace('"', "\\u0022"));
    let nests = (0..65).fold("1".to_owned(), |inner, _| {
        let object = format!("{{\"$serde_json::private::RawValue\":{}}}", quoted(&inner));
        format!("{}{object}{}", "[".repeat(120), "]".repeat(120))
    });
    for (path, body, pointer) in [
        ("/embeddings/", format!("{{\"input\":5,\"x\":{nests}}}"), "/input"),
        ("/embeddings/", format!("{{\"input\":\"a\",\"x\":{nests}}}"), "/x"),
        ("/inference/chat", format!("{{\"format\":{nests},\"messages\":5}}"), "/messages"),
    ] {
        let (status, problem_of) = problem(server.post_text(path, body)).await;
        assert_eq!((status, pointers_of(&problem_of)), (422, vec![pointer]));
    }
    // Far deeper than any parser should follow.
    let deep = format!("{{\"format\": {}", "[".repeat(100_000));
    assert_eq!(problem(server.post_text("/inference/chat", deep)).await.0, 400);
    let binary = server.post_text("/inference/chat", vec![0xff, 0xfe, 0x00]);
    assert_eq!(problem(binary).await.0, 400);
    let packed = server.post_text("/inference/chat", "{}").header("content-encoding", "gzip");
    assert_eq!(problem(packed).await.0, 415);
}

/// `curl -d` says that it sends a form, and browsers that a string is plain text.
#[tokio::test]
async fn json_is_read_whatever_it_is_called_by_default() {
    let server = start().await;
    let hello = r#" {"messages": [{"role": "user", "content": "hi"}]}"#;
    for (content_type, body, status) in [
        (None, hello, 200),
        (Some(""), hello, 200),
        (Some("application/json; charset=utf-8"), hello, 200),
        (Some("application/vnd.api+json"), hello, 200),
        (Some("application/x-www-form-urlencoded"), hello, 200),
        (Some("text/plain;charset=UTF-8"), hello, 200),
        (Some("application/x-www-form-urlencoded"), "a=b", 415),
        (Some("application/x-www-form-urlencoded"), "", 415),
        (Some("application/x-www-form-urlencoded"), "{}", 422),
        (Some("text/plain"), "hi", 400),
        (Some("multipart/form-data; boundary=x"), hello, 415),
        (Some("application/xml"), hello, 415),
        (Some("text/html"), hello, 415),
    ] {
        let request = server.client.post(server.url("/inference/chat")).header("x-api-key", KEY).body(body);
        let request = content_type.into_iter().fold(request, |it, given| it.header("content-type", given));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{content_type:?} {body}");
        if status == 415 {
            let told = "Send JSON, with the header Content-Type: application/json.";
            assert!(response.text().await.unwrap().contains(told));
        }
    }
}

#[tokio::test]
async fn codings_of_bodies() {
    let server = start().await;
    for (codings, status) in [
        ("content-encoding: identity", 422),
        ("content-encoding: IDENTITY", 422),
        ("content-encoding:", 422),
        ("content-encoding: gzip", 415),
        ("content-encoding: identity, gzip", 415),
        ("content-encoding: identity\r\ncontent-encoding: gzip", 415),
        ("transfer-encoding: Chunked", 422),
        ("transfer-encoding: gzip, chunked", 415),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 415),
    ] {
        let body = if codings.starts_with("transfer") {
            "\r\n2\r\n{}\r\n0\r\n\r\n"
        } else {
            "content-length: 2\r\n\r\n{}"
        };
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request =
            format!("POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n{codings}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{codings}: {answer}");
    }
}

#[tokio::test]
async fn fields_that_are_wrong_are_named() {
    let server = start().await;
    let hello = json!([{"role": "user", "content": "hi"}]);
    for (request, pointers) in [
        (json!({"messages": []}), vec!["/messages"]),
        (json!({"messages": "hi"}), vec!["/messages"]),
        (json!({"messages": [{"role": "robot", "content": "hi"}]}), vec!["/messages/0/role"]),
        (json!({"messages": [{"role": 5, "content": "hi"}]}), vec!["/messages/0/role"]),
        (json!({"messages": [{"role": {"user": null}, "content": "hi"}]}), vec!["/messages/0/role"]),
        (json!({"messages": [{"role": "user", "content": 5}]}), vec!["/messages/0/content"]),
        (json!({"messages": [{"role": "user"}]}), vec!["/messages/0/content"]),
        (json!({"messages": [{"content": "hi"}]}), vec!["/messages/0/role"]),
        (
            json!({"messages": hello, "temperature": 2.1, "top_p": -0.1, "top_k": 0, "max_tokens": -5}),
            vec!["/temperature", "/top_p", "/top_k", "/max_tokens"],
        ),
        (json!({"messages": hello, "temperature": "hot"}), vec!["/temperature"]),
        // Of wrong types the first.
        (json!({"messages": hello, "temperature": true, "model": 7}), vec!["/model"]),
        (json!({"messages": [["user", "hi"]]}), vec!["/messages/0"]),
        (json!({"messages": hello, "tools": [[{"name": "f"}]]}), vec!["/tools/0"]),
        (json!({"messages": hello, "tools": [{"function": ["f"]}]}), vec!["/tools/0/function"]),
        (json!({"messages": hello, "tools": [{"function": {"name": ""}}]}), vec!["/tools/0/function/name"]),
        (
            json!({"messages": hello, "tools": [{"type": "x", "function": {"name": "f"}}]}),
            vec!["/tools/0/type"],
        ),
        (json!({"messages": hello, "tools": vec![json!({"function": {"name": "f"}}); 129]}), vec!["/tools"]),
        (
            json!({"messages": hello, "tools": vec![json!({"function": {"name": "f"}}); 2]}),
            vec!["/tools/1/function/name"],
        ),
        (
            json!({"messages": hello, "tools": [{"function": {"name": "f"}}], "format": "json"}),
            vec!["/format"],
        ),
        (json!({"messages": hello, "stop": ["a", ""]}), vec!["/stop/1"]),
        (json!({"messages": hello, "stop": ""}), vec!["/stop"]),
        (json!({"messages": hello, "stop": vec!["a"; 17]}), vec!["/stop"]),
        (json!({"messages": hello, "stop": "x".repeat(513)}), vec!["/stop"]),
        (json!({"messages": hello, "stop": ["x".repeat(30_000_000)]}), vec!["/stop/0"]),
        (json!([hello]), vec![""]),
        (json!({"messages": hello, "max_tokens": 1.5}), vec!["/max_tokens"]),
        (json!({"messages": hello, "max_tokens": 99_999_999_999_u64}), vec!["/max_tokens"]),
        (json!({"messages": hello, "stream": "yes"}), vec!["/stream"]),
        (json!({"messages": hello, "stop": [1]}), vec!["/stop/0"]),
        (json!({"messages": hello, "format": "yaml"}), vec!["/format"]),
        (json!({"messages": hello, "keep_alive": "soon"}), vec!["/keep_alive"]),
        (json!({"messages": hello, "model": "no such name"}), vec!["/model"]),
        (json!({"messages": hello, "model": 7}), vec!["/model"]),
        (
            json!({"messages": [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}]}),
            vec!["/messages/0/tool_calls"],
        ),
    ] {
        let (status, problem) = problem(server.post("/inference/chat", &request)).await;
        let shown: String = request.to_string().chars().take(500).collect();
        assert_eq!(status, 422, "{shown}: {problem}");
        assert_eq!(pointers_of(&problem), pointers, "{shown}: {problem}");
    }
    let many = json!({"messages": vec![json!({"role": "user"}); 5000]});
    let (status, refusal) = problem(server.post("/inference/chat", &many)).await;
    assert_eq!((status, pointers_of(&refusal).len()), (422, 10), "a longer list helps nobody");
    // `null` means that a field is not there.
    let nulls = json!({"messages": hello, "temperature": null, "stream": null, "model": null, "stop": null, "keep_alive": null});
    assert_eq!(server.post("/inference/chat", &nulls).send().await.unwrap().status(), 200);
    for request in [json!({"prompt": null}), json!({"prompt": "x", "raw": true, "system": "y"})] {
        assert_eq!(problem(server.post("/inference/generate", &request)).await.0, 422, "{request}");
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_with_the_command_that_gets_it() {
    let server = start().await;
    server.ollama.on("/api/chat", crate::ollama::scripted::Script::error(404, "model 'nope' not found"));
    let request = json!({"model": "nope", "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..20 {
        let (status, problem) = problem(server.post("/inference/chat", &request)).await;
        assert_eq!(status, 404);
        assert!(problem["detail"].as_str().unwrap().contains("ollama pull nope"), "{problem}");
    }
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("nope"), "an unknown model makes no series");
}

/// Sends a head that announces 50 MB and not a byte of the body: the answer must come all the same.
async fn announce_50_mb(server: &TestServer, key: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: 52428800\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    read_head(&mut stream).await
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_without_reading_it() {
    let server = start().await;
    assert!(announce_50_mb(&server, KEY).await.starts_with("HTTP/1.1 413"));
    // Without its length announced, too, and then after no more than the limit.
    let endless = reqwest::Body::wrap_stream(futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])
    }));
    let result = server.post_text("/inference/chat", endless).send().await;
    assert!(result.is_err() || result.unwrap().status() == 413);
}

#[tokio::test]
async fn without_a_key_not_a_byte_of_the_body_is_read() {
    let server = start().await;
    assert!(announce_50_mb(&server, "wrong-key").await.starts_with("HTTP/1.1 401"));
    assert!(announce_50_mb(&server, "").await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn who_sends_everything_before_it_listens_gets_the_answer() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    // More than the system's buffers hold.
    let body = vec![b' '; 16 * 1024 * 1024];
    for (key, status) in [("wrong-key", 401), (KEY, 413)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with(&format!("HTTP/1.1 {status}")));
    }
}

#[tokio::test]
async fn a_client_that_stalls_in_its_body_is_told_and_let_go() {
    let server = start_with(&[("REQUEST_TIMEOUT_S", "1")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let half = format!(
        "POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"mess"
    );
    stream.write_all(half.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn each_request_names_one_host() {
    let server = start().await;
    for (head, status) in [
        ("HTTP/1.1\r\nhost: x", 200),
        ("HTTP/1.1\r\nhost:", 200),
        ("HTTP/1.1\r\naccept: */*", 400),
        ("HTTP/1.1\r\nhost: x\r\nhost: y", 400),
        ("HTTP/1.1\r\nhost: x\r\nhost: x", 400),
        ("HTTP/1.0\r\naccept: */*", 200),
        ("HTTP/1.0\r\nhost: x", 200),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(format!("GET / {head}\r\n\r\n").as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        let (version, _) = head.split_at(8);
        assert!(answer.starts_with(&format!("{version} {status}")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn strange_requests_do_not_disturb_the_server() {
    let server = start().await;
    for bytes in [
        &b"GET / HTTP/9.9\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /inference/chat HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /inference/chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_told_in_plain_words() {
    let server = start().await;
    for (path, pointer, detail) in [
        (
            "/analytics/errors?unauthenticated=maybe",
            "/unauthenticated",
            "unauthenticated must be true or false.",
        ),
        (
            "/analytics/errors?limit=1&unauthenticated=1&unauthenticated=0",
            "/unauthenticated",
            "unauthenticated is given twice.",
        ),
        (
            "/analytics/stats?since_minutes=1&since_minutes=2",
            "/since_minutes",
            "since_minutes is given twice.",
        ),
    ] {
        let (status, problem) = problem(server.get(path).header("x-api-key", KEY)).await;
        assert_eq!((status, &problem["detail"]), (422, &json!(detail)), "{path}");
        assert_eq!(pointers_of(&problem), [pointer], "{path}");
    }
}

#[tokio::test]
async fn a_query_may_say_yes_in_many_ways_and_leave_fields_empty() {
    let server = start().await;
    for query in [
        "unauthenticated=True",
        "unauthenticated=FALSE",
        "unauthenticated=1",
        "unauthenticated=0",
        "unauthenticated=yes",
        "unauthenticated=No",
        "unauthenticated=on",
        "unauthenticated=off",
        "unauthenticated=",
        "limit=",
        "limit=&unauthenticated=",
        "",
    ] {
        let request = server.get(&format!("/analytics/errors?{query}")).header("x-api-key", KEY);
        assert_eq!(request.send().await.unwrap().status(), 200, "{query}");
    }
    for path in [
        "/analytics/series?metric=&since_minutes=&step=",
        "/analytics/usage?by=",
        "/analytics/stats?since_minutes=",
    ] {
        assert_eq!(server.get(path).header("x-api-key", KEY).send().await.unwrap().status(), 200, "{path}");
    }
    // What is to be deleted is never left open.
    let all = server.client.delete(server.url("/analytics/cache?prefix=")).header("x-api-key", KEY);
    assert_eq!(problem(all).await.0, 422);
}

//! Tests of the cache as clients see it; the stores' own failures are tested beside them.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{
        KEY, TestServer, events, eventually, json as body, problem, start, start_uncached, start_with,
    },
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream})
}

fn status(response: &Response) -> String {
    response.headers()["cache-status"].to_str().unwrap().to_owned()
}

/// The text of a reply, streamed or not.
async fn said(response: Response) -> String {
    let streamed = response.headers()["content-type"] == "text/event-stream";
    let text = response.text().await.unwrap();
    if streamed {
        let events = events(&text);
        assert_eq!(events.last().unwrap().1["done"], true, "{text}");
        events.iter().map(|(_, chunk)| chunk["message"]["content"].as_str().unwrap()).collect()
    } else {
        let reply: Value = serde_json::from_str(&text).unwrap();
        reply["message"]["content"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_repeated_question_is_answered_without_the_backend() {
    let server = start().await;
    let first = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert_eq!(status(&first), "simpleton; fwd=miss; stored");
    let first = body(first).await;
    let mut first_without_times = first.clone();
    let fields = first_without_times.as_object_mut().unwrap();
    fields.retain(|name, _| !name.ends_with("_duration"));
    fields.insert("total_duration".to_owned(), json!(0));
    // As JSON or as a stream, whichever is asked for.
    for stream in [false, true, false] {
        let again = server.post("/inference/chat", &hello(stream)).send().await.unwrap();
        assert!(status(&again).starts_with("simpleton; hit; ttl=3"), "{}", status(&again));
        assert!(again.headers().contains_key("age"));
        if stream {
            assert_eq!(said(again).await, "Hello wörld");
        } else {
            let mut again = body(again).await;
            let took = again.as_object_mut().unwrap().insert("total_duration".to_owned(), json!(0));
            assert_ne!(
                (took.as_ref(), Some(&json!(0))),
                (first.get("total_duration"), took.as_ref()),
                "its own time"
            );
            assert_eq!(again, first_without_times, "to the last count");
        }
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
    let count = async |name: &str| {
        server.metric(&format!("simpleton_cache_{name}_total{{cache_type=\"chat\"}}")).await
    };
    assert_eq!((count("hits").await, count("misses").await, count("stores").await), (3.0, 1.0, 1.0));
}

#[tokio::test]
async fn a_stream_is_kept_for_those_who_want_json() {
    let server = start().await;
    let first = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    assert_eq!(said(first).await, "Hello wörld");
    let again = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert!(status(&again).starts_with("simpleton; hit"));
    assert_eq!(said(again).await, "Hello wörld");
}

#[tokio::test]
async fn what_was_not_finished_is_not_kept() {
    let server = start().await;
    for last in [Step::Cut, Step::Send("garbage\n".into())] {
        server.ollama.on(
            "/api/chat",
            Script::ok(vec![Step::Send(chat_line("Hel")), Step::Pause(Duration::from_millis(50)), last]),
        );
        let cut = server.post("/inference/chat", &hello(true)).send().await.unwrap();
        assert!(cut.text().await.unwrap().contains("event: error"));
    }
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(last_line(0))]));
    body(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await;
    server.ollama.on("/api/chat", Script::chat(&["whole"], Duration::ZERO));
    let whole = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert_eq!(status(&whole), "simpleton; fwd=miss; stored");
    assert_eq!(said(whole).await, "whole");
}

/// As JSON, as streams, and mixed: one call to the backend, and all answers equal.
#[tokio::test]
async fn identical_requests_at_once_are_asked_once() {
    for streamed in [|_| false, |_| true, |n| n % 2 == 0] {
        let server = start().await;
        let slow = Script {
            delay: Some(Duration::from_millis(500)),
            ..Script::chat(&["one", " answer"], Duration::from_millis(20))
        };
        server.ollama.on("/api/chat", slow);
        let requests = (0..100).map(|n| server.post("/inference/chat", &hello(streamed(n))).send());
        let replies =
            futures_util::future::join_all(requests.map(async |reply| said(reply.await.unwrap()).await))
                .await;
        assert!(replies.iter().all(|reply| reply == "one answer"), "{replies:?}");
        assert_eq!(server.ollama.requests("/api/chat").len(), 1);
        let collapsed = server.metric("simpleton_cache_collapsed_total{cache_type=\"chat\"}").await;
        assert_eq!(collapsed, 99.0);
    }
}

#[tokio::test]
async fn whoever_joins_late_gets_the_beginning_and_then_follows() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::chat(&["a", "b", "c", "d", "e", "f"], Duration::from_millis(100)));
    let mut first = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    first.chunk().await.unwrap().unwrap();
    let mut second = server.post("/inference/chat", &hello(true)).send().await.unwrap();
    assert_eq!(status(&second), "simpleton; fwd=miss; collapsed");
    let begun = second.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&begun).contains("\"content\":\"a\""));
    // The one who started it leaves; the other one's reply goes on.
    drop(first);
    let mut text = String::from_utf8(begun.to_vec()).unwrap();
    while let Some(chunk) = second.chunk().await.unwrap() {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    let whole: String =
        events(&text).iter().map(|(_, chunk)| chunk["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(whole, "abcdef");
    assert_eq!((server.ollama.requests("/api/chat").len(), server.ollama.aborted()), (1, 0));
}

#[tokio::test]
async fn the_last_one_to_leave_stops_the_backend() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::chat(&["word"; 10_000], Duration::from_millis(5)));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = server.post("/inference/chat", &hello(true)).send().await.unwrap();
        reader.chunk().await.unwrap().unwrap();
        readers.push(reader);
    }
    readers.truncate(1);
    let before = server.ollama.chunks_sent();
    eventually("it goes on for the last one", async || server.ollama.chunks_sent() > before + 20).await;
    assert_eq!(server.ollama.aborted(), 0);
    readers.clear();
    eventually("it stops", async || server.ollama.aborted() == 1).await;
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
}

#[tokio::test]
async fn an_error_reaches_everybody_who_waits_and_is_not_kept() {
    let server = start().await;
    let failing = Script { delay: Some(Duration::from_millis(300)), ..Script::error(500, "broken") };
    server.ollama.on("/api/chat", failing);
    let waiting = (0..10).map(|n| problem(server.post("/inference/chat", &hello(n % 2 == 0))));
    let failures = futures_util::future::join_all(waiting).await;
    assert!(failures.iter().all(|(status, _)| *status == 502));
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
    server.ollama.on("/api/chat", Script::chat(&["fine"], Duration::ZERO));
    assert_eq!(said(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await, "fine");
}

#[tokio::test]
async fn the_callers_directives_are_heeded() {
    let server = start().await;
    let ask = async |directive: &str| {
        let request = server.post("/inference/chat", &hello(false)).header("cache-control", directive);
        let response = request.send().await.unwrap();
        let status = status(&response);
        (status, said(response).await)
    };
    let answer = |text: &str| server.ollama.on("/api/chat", Script::chat(&[text], Duration::ZERO));
    answer("old");
    assert_eq!(ask("no-store").await, ("simpleton; fwd=bypass".into(), "old".into()));
    assert_eq!(ask("").await, ("simpleton; fwd=miss; stored".into(), "old".into()));
    answer("new");
    assert_eq!(ask("no-store").await.1, "new");
    assert_eq!(ask("max-age=60").await.1, "old");
    assert_eq!(ask("no-cache").await, ("simpleton; fwd=request; stored".into(), "new".into()));
    assert_eq!(ask("").await.1, "new", "the entry was refreshed");
    answer("newest");
    eventually("it is older than 0 s", async || ask("max-age=0").await.1 == "newest").await;
}

#[tokio::test]
async fn a_model_that_is_pulled_anew_answers_anew() {
    let server = start().await;
    let tags = |digest: &str| {
        let tags = json!({"models": [{"name": "qwen2.5:7b", "digest": digest}]});
        server.ollama.on("/api/tags", Script::ok(vec![Step::Send(tags.to_string())]));
    };
    tags("one");
    assert_eq!(
        said(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await,
        "Hello wörld"
    );
    tags("two");
    server.ollama.on("/api/chat", Script::chat(&["from the new one"], Duration::ZERO));
    // `/models` fetches the list; else it takes some seconds until the change is seen.
    server.get("/models").header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(
        said(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await,
        "from the new one"
    );
}

#[tokio::test]
async fn keys_share_entries_or_have_their_own() {
    for (scope, calls) in [("shared", 1), ("key", 2)] {
        let server = start_with(&[("CACHE_SCOPE", scope), ("API_KEYS", "first-key,second-key")]).await;
        for key in ["first-key", "second-key", "first-key", "second-key"] {
            let request = server.client.post(server.url("/inference/chat")).header("x-api-key", key);
            said(request.body(hello(false).to_string()).send().await.unwrap()).await;
        }
        assert_eq!(server.ollama.requests("/api/chat").len(), calls, "{scope}");
    }
}

/// One vector for each text, made from its length.
fn embed_script(server: &TestServer, texts: usize) {
    let vectors: Vec<Value> = (0..texts).map(|n| json!([n as f32 + 0.5, 1.0])).collect();
    let answer = json!({"model": "m", "embeddings": vectors, "prompt_eval_count": texts});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(answer.to_string())]));
    let tags = json!({"models": [{"name": "nomic-embed-text:latest", "digest": "cc"}]});
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(tags.to_string())]));
    server
        .ollama
        .on("/api/show", Script::ok(vec![Step::Send(json!({"capabilities": ["embedding"]}).to_string())]));
}

#[tokio::test]
async fn only_texts_that_are_not_known_go_to_the_model() {
    let server = start().await;
    let known: Vec<String> = (0..32).map(|n| format!("text {n}")).collect();
    embed_script(&server, 32);
    let first = server.post("/embeddings/", &json!({"input": known})).send().await.unwrap();
    assert_eq!(status(&first), "simpleton; fwd=miss; stored");
    let first = body(first).await;
    // 64 with 32 known ones among them, and one of the new ones three times.
    let mut texts: Vec<String> = (0..62).map(|n| format!("text {n}")).collect();
    texts.extend(["text 40".to_owned(), "text 40".to_owned()]);
    embed_script(&server, 30);
    let second = server.post("/embeddings/", &json!({"input": texts})).send().await.unwrap();
    assert_eq!(status(&second), "simpleton; fwd=partial; stored");
    let second = body(second).await;
    let calls = server.ollama.requests("/api/embed");
    let asked = |call: usize| calls[call]["input"].as_array().unwrap().len();
    assert_eq!((calls.len(), asked(0), asked(1)), (2, 32, 30));
    let vectors = second["embeddings"].as_array().unwrap();
    assert_eq!(vectors.len(), 64);
    assert_eq!(&vectors[..32], &first["embeddings"].as_array().unwrap()[..]);
    assert!(vectors[62] == vectors[40] && vectors[63] == vectors[40]);
    let third = server.post("/embeddings/batch", &json!(texts)).send().await.unwrap();
    assert!(status(&third).starts_with("simpleton; hit; ttl=86"), "{}", status(&third));
    assert_eq!(body(third).await["embeddings"], second["embeddings"]);
    assert_eq!(server.ollama.requests("/api/embed").len(), 2);
}

#[tokio::test]
async fn the_same_text_at_once_is_embedded_once() {
    let server = start().await;
    embed_script(&server, 1);
    let answer = json!({"model": "m", "embeddings": [[0.25]]}).to_string();
    let slow = Script { delay: Some(Duration::from_millis(300)), ..Script::ok(vec![Step::Send(answer)]) };
    server.ollama.on("/api/embed", slow);
    let asked = (0..50).map(|_| server.post("/embeddings/", &json!({"input": "Hello world"})).send());
    for reply in futures_util::future::join_all(asked).await {
        assert_eq!(body(reply.unwrap()).await["embeddings"], json!([[0.25]]));
    }
    assert_eq!(server.ollama.requests("/api/embed").len(), 1);
}

#[tokio::test]
async fn the_cache_is_shown_and_cleared_by_type() {
    let server = start().await;
    embed_script(&server, 1);
    let tags = json!({"models": [{"name": "nomic-embed-text:latest", "digest": "cc"}, {"name": "qwen2.5:7b", "digest": "aa"}]});
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(tags.to_string())]));
    server.ollama.on("/api/show", Script::error(404, "old server"));
    for (path, request) in [
        ("/inference/chat", hello(false)),
        ("/inference/generate", json!({"prompt": "hi"})),
        ("/embeddings/", json!({"input": "hi"})),
    ] {
        for _ in 0..2 {
            assert_eq!(server.post(path, &request).send().await.unwrap().status(), 200);
        }
    }
    let report = async || {
        let reply = server.get("/analytics/cache").header("x-api-key", KEY).send().await.unwrap();
        body(reply).await["cache"].clone()
    };
    let cache = report().await;
    assert_eq!(
        (&cache["enabled"], &cache["status"], &cache["backend"]),
        (&json!(true), &json!("available"), &json!("embedded"))
    );
    assert_eq!(
        (&cache["total_keys"], &cache["hits"], &cache["misses"], &cache["hit_rate"]),
        (&json!(3), &json!(3), &json!(3), &json!(50.0))
    );
    assert_eq!(
        (&cache["by_type"]["chat"]["keys"], &cache["by_type"]["vision"]["keys"]),
        (&json!(1), &json!(0))
    );
    assert!(cache["memory_used_mb"].as_f64().unwrap() > 0.0);
    for wrong in ["*", "c?at", "cha", "CHAT", "chat:*", "", "%00"] {
        let request = server
            .client
            .delete(server.url(&format!("/analytics/cache?prefix={wrong}")))
            .header("x-api-key", KEY);
        let (status, problem) = problem(request).await;
        assert_eq!(status, 422, "{wrong}");
        assert!(
            problem["detail"].as_str().unwrap().contains("embedding, inference, chat, vision"),
            "{problem}"
        );
    }
    let clear = async |query: &str| {
        let request =
            server.client.delete(server.url(&format!("/analytics/cache{query}"))).header("x-api-key", KEY);
        body(request.send().await.unwrap()).await
    };
    let cleared = clear("?prefix=chat").await;
    assert_eq!((&cleared["status"], &cleared["deleted"]), (&json!("success"), &json!(1)));
    assert_eq!(report().await["total_keys"], 2);
    let missed = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert!(status(&missed).starts_with("simpleton; fwd=miss"));
    assert_eq!(clear("").await["deleted"], 3);
    assert_eq!(report().await["total_keys"], 0);
}

#[tokio::test]
async fn a_cache_that_is_off_says_so_and_keeps_nothing() {
    let server = start_uncached().await;
    for _ in 0..2 {
        let reply = server.post("/inference/chat", &hello(false)).send().await.unwrap();
        assert_eq!(status(&reply), "simpleton; fwd=bypass");
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 2);
    let report = server.get("/analytics/cache").header("x-api-key", KEY).send().await.unwrap();
    let cache = body(report).await["cache"].clone();
    assert_eq!((&cache["enabled"], &cache["status"]), (&json!(false), &json!("disabled")));
}

#[tokio::test]
async fn entries_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATA_DIR", folder.path().to_str().unwrap())];
    let server = start_with(&settings).await;
    said(server.post("/inference/chat", &hello(false)).send().await.unwrap()).await;
    server.stop().await;
    let server = start_with(&settings).await;
    let again = server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert!(status(&again).starts_with("simpleton; hit"), "{}", status(&again));
    assert!(server.ollama.requests("/api/chat").is_empty());
}

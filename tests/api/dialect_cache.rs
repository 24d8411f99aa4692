//! The cache behind OpenAI's and Ollama's APIs, which they share with the native one.

use serde_json::json;

use crate::{
    harness::{start, start_with},
    ollama_api::hello,
};

/// Whether the second of two equal requests is answered from the cache: on the native API, and on OpenAI's with a
/// temperature above 0 and with one of 0.
async fn hits(setting: &str) -> [bool; 3] {
    let server = start_with(&[("CACHE_SAMPLED", setting)]).await;
    let sampled = json!({"messages": hello()});
    let mut greedy = sampled.clone();
    greedy["temperature"] = json!(0);
    let openai = "/v1/chat/completions";
    let mut hits = [false; 3];
    for (hit, (path, request)) in
        hits.iter_mut().zip([("/inference/chat", &sampled), (openai, &sampled), (openai, &greedy)])
    {
        server.post(path, request).send().await.unwrap().text().await.unwrap();
        let again = server.post(path, request).send().await.unwrap();
        *hit = again.headers()["cache-status"].to_str().unwrap().contains("; hit");
    }
    hits
}

#[tokio::test]
async fn sampled_answers_are_cached_where_the_setting_says() {
    assert_eq!(hits("native").await, [true, false, true]);
    assert_eq!(hits("all").await, [true, true, true]);
    assert_eq!(hits("none").await, [false, false, true]);
}

#[tokio::test]
async fn one_entry_serves_every_api() {
    let server = start().await;
    let native = json!({"messages": hello(), "temperature": 0});
    server.post("/inference/chat", &native).send().await.unwrap().text().await.unwrap();
    for (path, mut request) in [
        ("/v1/chat/completions", native),
        ("/api/chat", json!({"messages": hello(), "options": {"temperature": 0}})),
    ] {
        for stream in [false, true] {
            request["stream"] = json!(stream);
            let response = server.post(path, &request).send().await.unwrap();
            assert!(response.headers()["cache-status"].to_str().unwrap().contains("; hit"), "{path}");
            assert!(response.text().await.unwrap().contains("w\u{f6}rld"), "{path}");
        }
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
}

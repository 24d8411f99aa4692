//! Contexts, stop sequences, seeds.

use serde_json::json;

use crate::harness::{RealServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_where_it_is_told_and_refuses_what_does_not_fit() {
    let server = RealServer::start(&[("ENGINE_CONTEXT", "512"), ("CACHE_ENABLED", "false")]).await;
    let question =
        json!([{"role": "user", "content": "Count from one to ten in digits, separated by commas."}]);
    let reply = server.chat(question.clone(), json!({"stop": ["5"]})).await;
    assert!(text(&reply).contains('4') && !text(&reply).contains('5'), "{reply}");
    assert_eq!(reply["done_reason"], "stop");
    let reply = server.chat(question, json!({"max_tokens": 5})).await;
    assert_eq!((&reply["done_reason"], &reply["eval_count"]), (&json!("length"), &json!(5)));

    let long = "The quick brown fox jumps over the lazy dog. ".repeat(100);
    let (status, problem) =
        server.post("/inference/chat", &json!({"messages": [{"role": "user", "content": long}]})).await;
    assert_eq!(status, 422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("512"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_repeats_an_answer_and_another_one_does_not() {
    let server = RealServer::start(&[("CACHE_ENABLED", "false"), ("ENGINE_PARALLEL", "1")]).await;
    let asked = async |seed: i64| {
        let messages = json!([{"role": "user", "content": "Write a sentence about the sea."}]);
        let fields = json!({"temperature": 1.5, "seed": seed, "max_tokens": 24});
        text(&server.chat(messages, fields).await)
    };
    let first = asked(1).await;
    assert_eq!(asked(1).await, first);
    assert_ne!(asked(2).await, first);
}

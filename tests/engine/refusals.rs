//! Refusals of what the engine or the model cannot do, and options that they serve.

use serde_json::{Value, json};

use crate::service::Service;

const MODEL: &str = "simpleton-demo";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_cannot_do_is_refused_by_its_name() {
    let service = Service::start(&[]).await;
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let tools = json!([{"type": "function", "function": function}]);
    let flat = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let logprobs = json!(["message.output_text.logprobs"]);
    for (path, mut request, told) in [
        ("/v1/completions", json!({"prompt": "a", "suffix": "b"}), r#""param":"suffix""#),
        ("/api/generate", json!({"prompt": "a", "suffix": "b"}), "does not support insert"),
        ("/v1/embeddings", json!({"input": [[9_999_999]]}), r#""param":"input""#),
        ("/v1/completions", json!({"prompt": [9_999_999]}), r#""param":"prompt""#),
        ("/api/generate", json!({"prompt": "a", "context": [9_999_999]}), "context has the token id"),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "logit_bias": {"9999999": 5}}),
            r#""param":"logit_bias""#,
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "tools": tools, "logprobs": true}),
            r#""param":"logprobs""#,
        ),
        ("/api/chat", json!({"messages": messages, "tools": tools, "logprobs": true}), "logprobs cannot"),
        ("/v1/responses", json!({"input": "Hi", "tools": flat, "include": logprobs}), r#""param":"include""#),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "repeat_penalty": 0}),
            r#""param":"repeat_penalty""#,
        ),
        ("/v1/responses", json!({"input": "Hi", "repeat_penalty": 0}), r#""param":"repeat_penalty""#),
        ("/api/chat", json!({"messages": messages, "options": {"repeat_penalty": 0}}), "repeat_penalty"),
        (
            "/api/create",
            json!({"model": "none", "from": MODEL, "parameters": {"repeat_penalty": 0}}),
            "parameters/repeat_penalty",
        ),
    ] {
        if path != "/api/create" {
            request["model"] = json!(MODEL);
        }
        let response = service.post(path).body(request.to_string()).send().await.expect("an answer");
        let (status, text) = (response.status().as_u16(), response.text().await.expect("a body"));
        assert!(status == 400 && text.contains(told), "{path} {request}: {status} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_penalty_over_the_whole_context_is_served() {
    let service = Service::start(&[("CACHE_ENABLED", "false")]).await;
    let parameters = json!({"repeat_last_n": -1, "repeat_penalty": 1.1});
    let own = json!({"model": "own", "from": MODEL, "parameters": parameters, "stream": false});
    assert_eq!(service.ask("/api/create", own).await, json!({"status": "success"}));
    let options = json!({"repeat_last_n": -1, "repeat_penalty": 1.1, "top_k": 40.0, "num_predict": 5.0});
    let messages = json!([{"role": "user", "content": "What is the capital of France?"}]);
    for request in [
        json!({"model": MODEL, "messages": messages, "options": options, "stream": false}),
        json!({"model": "own", "messages": messages, "options": {"num_predict": 5}, "stream": false}),
    ] {
        let reply: Value = service.ask("/api/chat", request).await;
        assert!(!reply["message"]["content"].as_str().expect("a text").is_empty(), "{reply}");
    }
    let prompt = json!({"model": MODEL, "prompt": "Hi", "context": [1], "options": options, "stream": false});
    assert_eq!(service.ask("/api/generate", prompt).await["done"], true);
}

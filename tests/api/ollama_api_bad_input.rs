//! Refusals of Ollama's API, in its own words, and parameters without effect.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, start, start_with},
    ollama::scripted::{Script, Step},
    ollama_api::{chat, hello, refusal},
};

#[tokio::test]
async fn bad_input_is_refused_by_its_name() {
    let server = start().await;
    let chat_with = |field: &str, value: Value| {
        let mut request = json!({"messages": hello()});
        request[field] = value;
        ("/api/chat", request)
    };
    let option = |name: &str, value: Value| chat_with("options", json!({ name: value }));
    let said = |role: &str| json!([{"role": role, "content": "5"}]);
    let prompt = |fields: Value| ("/api/generate", fields);
    let cycle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}});
    for ((path, request), named) in [
        (chat_with("temperature", json!(1)), "temperature"),
        (chat_with("mesages", json!([])), "mesages"),
        (chat_with("n", json!(2)), "n is unknown"),
        (chat_with("messages", json!("hi")), "messages"),
        (chat_with("messages", said("tool")), "messages/0/role"),
        (chat_with("messages", json!([{"role": "user"}])), "messages/0/content"),
        (chat_with("messages", json!([{"role": "robot", "content": "a"}])), "messages/0/role"),
        (chat_with("format", json!("xml")), "format"),
        (chat_with("format", cycle), "format"),
        (chat_with("think", json!("much")), "think"),
        (chat_with("keep_alive", json!("soon")), "keep_alive"),
        (chat_with("top_logprobs", json!(3)), "top_logprobs"),
        (chat_with("top_logprobs", json!(21)), "top_logprobs"),
        (chat_with("logprobs", json!(true)), "logprobs"),
        (chat_with("model", json!("../../etc/passwd")), "model"),
        (
            chat_with("tools", json!([{"type": "function", "function": {"name": ""}}])),
            "tools/0/function/name",
        ),
        (chat_with("_debug_render_only", json!(true)), "_debug_render_only"),
        (option("num_predict", json!(-3)), "options/num_predict"),
        (option("num_predict", json!(1.5)), "options/num_predict"),
        (option("top_k", json!("40")), "options/top_k"),
        (option("repeat_penalty", json!(0)), "options/repeat_penalty"),
        (option("num_predict", json!(i64::MAX)), "options/num_predict"),
        (option("num_ctx", json!(-5)), "options/num_ctx"),
        (option("temperature", json!(1e300)), "options/temperature"),
        (option("top_k", json!(-1)), "options/top_k"),
        (option("repeat_last_n", json!(1_i64 << 40)), "options/repeat_last_n"),
        (option("mirostat", json!(3)), "options/mirostat"),
        (option("stop", json!(vec!["a"; 17])), "options/stop"),
        (option("tempature", json!(1)), "temperature"),
        (prompt(json!({"prompt": "a", "raw": true, "template": "{{ .Prompt }}"})), "raw"),
        (prompt(json!({"prompt": "a", "raw": true, "system": "b"})), "raw"),
        (prompt(json!({"prompt": "", "suffix": "b"})), "prompt"),
        (prompt(json!({"prompt": 5})), "prompt"),
        (("/api/embed", json!({"input": ["a", ""]})), "input/1"),
        (("/api/embed", json!({"input": {"a": 1}})), "input"),
        (("/api/embed", json!({"input": vec!["a"; 2049]})), "input"),
        (("/api/embeddings", json!({"input": "a"})), "input"),
        (("/api/show", json!({})), "model is required"),
        (("/api/show", json!({"model": "a b"})), "model"),
    ] {
        let (status, error) = refusal(server.post(path, &request).send().await.unwrap()).await;
        assert!(status == 400 && error.contains(named), "{path} {request}: {status} {error}");
    }
    let sent = server.ollama.requests("/api/chat").len() + server.ollama.requests("/api/generate").len();
    assert_eq!(sent, 0);
    // Odd, but not wrong.
    let properties: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for request in [
        json!({"messages": [{"role": "user", "content": ""}], "stream": false, "model": ""}),
        json!({"messages": hello(), "stream": false, "options": {"num_predict": i32::MAX, "num_ctx": i32::MAX}}),
        json!({"messages": hello(), "stream": false, "options": {"num_predict": 0, "top_k": 40.0, "seed": null}}),
        json!({"messages": hello(), "stream": false, "options": null, "tools": null, "format": null, "think": null}),
    ] {
        assert_eq!(chat(&server, &request).await.status(), 200, "{request}");
    }
    let large =
        json!({"messages": hello(), "stream": false, "format": {"type": "object", "properties": properties}});
    let response = chat(&server, &large).await;
    // The scripted answer is no JSON; what matters is that it is one clear answer.
    assert!([400, 502].contains(&response.status().as_u16()));
    refusal(response).await;
}

#[tokio::test]
async fn errors_have_ollamas_envelope_everywhere() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    let no_key = server.client.post(server.url("/api/chat")).body("{}").send().await.unwrap();
    assert_eq!(refusal(no_key).await.0, 401);
    let bearer = server.get("/api/tags").bearer_auth(KEY).send().await.unwrap();
    assert_eq!(bearer.status(), 200);
    for (method, path, status) in [
        ("POST", "/api/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/chat", 405),
        ("POST", "/api/tags", 405),
    ] {
        let request = server.client.request(method.parse().unwrap(), server.url(path)).bearer_auth(KEY);
        assert_eq!(refusal(request.send().await.unwrap()).await.0, status, "{path}");
    }
    for (text, status) in [("{".to_owned(), 400), (String::new(), 400), (" ".repeat(2 << 20), 413)] {
        let response = server.post_text("/api/chat", text).send().await.unwrap();
        assert_eq!(refusal(response).await.0, status);
    }
    server.ollama.on("/api/chat", Script::error(404, "model 'x' not found"));
    let missing = chat(&server, &json!({"model": "x:1b", "messages": hello()})).await;
    assert_eq!(refusal(missing).await, (404, "model 'x:1b' not found".to_owned()));
    server.ollama.on("/api/show", Script::error(404, "model 'x' not found"));
    let missing = server.post("/api/show", &json!({"name": "x"})).send().await.unwrap();
    assert_eq!(refusal(missing).await, (404, "model 'x' not found".to_owned()));
    server.ollama.on("/api/chat", Script::error(503, "busy"));
    let busy = chat(&server, &json!({"messages": hello()})).await;
    assert!(busy.headers().contains_key("retry-after"));
    assert_eq!(refusal(busy).await.0, 503);
}

#[tokio::test]
async fn what_a_model_cannot_do_is_said_in_ollamas_words() {
    let server = start().await;
    server
        .ollama
        .on("/api/show", Script::ok(vec![Step::Send(json!({"capabilities": ["completion"]}).to_string())]));
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let request = json!({"model": "qwen2.5:7b", "messages": hello(), "tools": [tool]});
    let (status, error) = refusal(chat(&server, &request).await).await;
    assert!(status == 400 && error.starts_with("\"qwen2.5:7b\" does not support tools"), "{error}");
}

#[tokio::test]
async fn a_model_that_only_embeds_is_refused_for_what_was_asked() {
    let server = start().await;
    server
        .ollama
        .on("/api/show", Script::ok(vec![Step::Send(json!({"capabilities": ["embedding"]}).to_string())]));
    for (path, request, task) in [
        ("/api/chat", json!({"model": "qwen2.5:7b", "messages": hello()}), "chat"),
        ("/api/generate", json!({"model": "qwen2.5:7b", "prompt": "hi"}), "generate"),
    ] {
        let (status, error) = refusal(server.post(path, &request).send().await.unwrap()).await;
        let lacking = format!("\"qwen2.5:7b\" does not support {task}");
        assert!(status == 400 && error.starts_with(&lacking), "{error}");
    }
}

#[tokio::test]
async fn what_has_no_effect_is_named() {
    let server = start().await;
    let request = json!({"messages": hello(), "stream": false, "truncate": true, "shift": false,
        "options": {"num_gpu": 1, "num_thread": 8, "use_mmap": null, "seed": 1}});
    let response = chat(&server, &request).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "options.num_gpu, options.num_thread, truncate");
}

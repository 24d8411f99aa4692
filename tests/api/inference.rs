use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{KEY, events, json as body, pointers_of, problem, start},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

const HELLO: &str = r#"{"messages": [{"role": "user", "content": "hi"}]}"#;

#[tokio::test]
async fn generate_answers_in_one_object() {
    let server = start().await;
    let request = json!({"prompt": "capital?", "system": "short", "temperature": 0, "max_tokens": 5, "top_p": 0.5,
        "top_k": 3, "seed": 7, "stop": "x", "keep_alive": "10m", "context": [4, 5], "format": "json"});
    let response = server.post("/inference/generate", &request).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        body(response).await,
        json!({"model": "qwen2.5:7b", "response": "Paris", "done": true, "done_reason": "stop", "context": [1, 2, 3],
            "total_duration": 5_000_000, "load_duration": 1_000_000, "prompt_eval_count": 7,
            "prompt_eval_duration": 2_000_000, "eval_count": 2, "eval_duration": 2_000_000})
    );
    assert_eq!(
        server.ollama.requests("/api/generate"),
        [
            json!({"model": "qwen2.5:7b", "prompt": "capital?", "system": "short", "context": [4, 5], "stream": true,
            "format": "json", "keep_alive": "600000ms",
            "options": {"temperature": 0.0, "top_p": 0.5, "top_k": 3, "seed": 7, "stop": ["x"], "num_predict": 5}})
        ]
    );
}

#[tokio::test]
async fn for_ever_is_said_as_ollama_reads_it() {
    let server = start().await;
    for keep_alive in [json!(-1), json!("-1"), json!("-1m")] {
        let request = json!({"prompt": keep_alive.to_string(), "keep_alive": keep_alive});
        assert_eq!(server.post("/inference/generate", &request).send().await.unwrap().status(), 200);
    }
    // A text is a duration there, and has a unit.
    assert!(server.ollama.requests("/api/generate").iter().all(|sent| sent["keep_alive"] == "-1s"));
}

#[tokio::test]
async fn chat_answers_in_one_object_and_has_the_briefs_temperature() {
    let server = start().await;
    let response = server.post_text("/inference/chat", HELLO).send().await.unwrap();
    let reply = body(response).await;
    assert_eq!(reply["message"], json!({"role": "assistant", "content": "Hello wörld"}));
    assert_eq!((&reply["done"], &reply["eval_count"]), (&json!(true), &json!(3)));
    let sent = &server.ollama.requests("/api/chat")[0];
    assert_eq!(sent["messages"], json!([{"role": "user", "content": "hi"}]));
    assert!((sent["options"]["temperature"].as_f64().unwrap() - 0.7).abs() < 1e-6);
}

#[tokio::test]
async fn a_stream_is_events_in_ollamas_shape() {
    let server = start().await;
    for path in ["/inference/chat", "/inference/generate"] {
        let asked = if path.ends_with("chat") { "messages" } else { "prompt" };
        let hello =
            if path.ends_with("chat") { json!([{"role": "user", "content": "hi"}]) } else { json!("hi") };
        let response = server.post(path, &json!({asked: hello, "stream": true})).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let events = events(&response.text().await.unwrap());
        let (last, chunks) = events.split_last().unwrap();
        assert!(!chunks.is_empty() && chunks.iter().all(|(_, chunk)| chunk["done"] == false));
        let text: String = chunks
            .iter()
            .map(|(_, chunk)| chunk["response"].as_str().or(chunk["message"]["content"].as_str()).unwrap())
            .collect();
        assert_eq!(text, if path.ends_with("chat") { "Hello wörld" } else { "Paris" });
        assert_eq!((&last.1["done"], &last.1["prompt_eval_count"]), (&json!(true), &json!(7)));
    }
}

/// The first token is forwarded before the second exists: the backend pauses for ever after it.
#[tokio::test]
async fn the_first_token_leaves_before_the_second_exists() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("first")), Step::Hang]));
    let request = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true});
    let mut response = server.post("/inference/chat", &request).send().await.unwrap();
    let chunk =
        tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&chunk).contains("first"));
}

#[tokio::test]
async fn tokens_that_come_together_leave_together() {
    let server = start().await;
    let lines = ["The", " capital", "\n", "is"].map(chat_line).concat();
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(lines + &last_line(4))]));
    let request = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true});
    let response = server.post("/inference/chat", &request).send().await.unwrap();
    let events = events(&response.text().await.unwrap());
    let [(_, text), (_, last)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(text["message"]["content"], "The capital\nis");
    assert_eq!((&last["done"], &last["eval_count"]), (&json!(true), &json!(4)));
}

#[tokio::test]
async fn tools_and_thinking_pass_both_ways() {
    let server = start().await;
    let called = json!({"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}, "done": false});
    server
        .ollama
        .on("/api/chat", Script::ok(vec![Step::Send(format!("{called}\n")), Step::Send(last_line(9))]));
    let tool = json!({"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}});
    let request = json!({"messages": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "content": "sunny", "tool_name": "weather"}], "tools": [tool]});
    let reply = body(server.post("/inference/chat", &request).send().await.unwrap()).await;
    assert_eq!(
        reply["message"],
        json!({"role": "assistant", "content": "", "thinking": "hm",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]})
    );
    let sent = &server.ollama.requests("/api/chat")[0];
    assert_eq!(sent["tools"], json!([tool]));
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["arguments"], json!({"city": "Rome"}));
    assert_eq!(sent["messages"][2], json!({"role": "tool", "content": "sunny", "tool_name": "weather"}));
}

#[tokio::test]
async fn images_are_re_encoded_before_the_backend_sees_them() {
    let server = start().await;
    let bmp = tiny_bmp();
    let request = json!({"prompt": "what is it?", "images": [format!("data:image/bmp;base64,{bmp}")]});
    let response = server.post("/inference/generate", &request).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let sent = &server.ollama.requests("/api/generate")[0];
    assert!(sent["images"][0].as_str().unwrap().starts_with("iVBORw0KGgo"), "a PNG");
    assert_eq!(sent["model"], "llava", "an image goes to the default vision model");
}

#[tokio::test]
async fn both_headers_carry_a_key() {
    let server = start().await;
    let bearer =
        server.client.post(server.url("/inference/chat")).header("authorization", format!("Bearer {KEY}"));
    let response = bearer.header("content-type", "application/json").body(HELLO).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

/// As OpenAI's clients send them, of both of its APIs.
#[tokio::test]
async fn messages_in_parts_are_texts_and_images() {
    let server = start().await;
    let image = format!("data:image/bmp;base64,{}", tiny_bmp());
    let request = json!({"messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": image, "detail": "high"}},
            {"type": "input_text", "text": "Or this?"},
            {"type": "input_image", "image_url": image, "detail": "auto"},
        ]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A dot."}], "thinking": "hm"},
        {"role": "user", "content": "And?"},
    ]});
    let response = server.post("/inference/chat", &request).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let sent = &server.ollama.requests("/api/chat")[0];
    assert_eq!(sent["model"], "llava", "an image goes to the default vision model");
    let (system, user) = (&sent["messages"][0], &sent["messages"][1]);
    assert_eq!(system, &json!({"role": "system", "content": "Be short."}));
    assert_eq!(user["content"], "What is it?\nOr this?");
    assert_eq!(user["images"].as_array().unwrap().len(), 2);
    assert_eq!(sent["messages"][2], json!({"role": "assistant", "content": "A dot."}));
}

#[tokio::test]
async fn parts_that_are_none_are_named() {
    let server = start().await;
    let cut = json!({"url": "data:image/png;base64,iVBORw0KGgo="});
    for (part, status, pointer) in [
        (
            json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
            422,
            "/image_url/url",
        ),
        (json!({"type": "image_url", "image_url": {"url": "data:x"}}), 400, "/image_url/url"),
        (json!({"type": "image_url", "image_url": "data:x"}), 400, "/image_url"),
        (json!({"type": "image_url", "image_url": "http://127.0.0.1/a.png"}), 422, "/image_url"),
        (json!({"type": "image_url", "image_url": cut}), 400, "/image_url/url"),
        (json!({"type": "image_url", "image_url": {"uri": "x"}}), 422, "/image_url/uri"),
        (json!({"type": "image_url", "image_url": {}}), 422, "/image_url/url"),
        (json!({"type": "image_url", "image_url": ["x"]}), 422, "/image_url"),
        (json!({"type": "image_url", "text": "x"}), 422, "/image_url"),
        (json!({"type": "text"}), 422, "/text"),
        (json!({"type": "text", "text": 5}), 422, "/text"),
        (json!({"type": "input_audio"}), 422, "/type"),
        (json!({"text": "x"}), 422, "/type"),
        (json!({"text": "x", "type": 5}), 422, "/type"),
        (json!({"type": "text", "txt": "x"}), 422, "/txt"),
        (json!("x"), 422, ""),
        (json!(["text", "x"]), 422, ""),
    ] {
        let request =
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]});
        let (got, problem) = problem(server.post("/inference/chat", &request)).await;
        assert_eq!(got, status, "{part}: {problem}");
        let pointer = format!("/messages/0/content/1{pointer}");
        assert_eq!(pointers_of(&problem)[0], pointer, "{part}: {problem}");
    }
    let empty = json!({"messages": [{"role": "user", "content": []}]});
    assert_eq!(problem(server.post("/inference/chat", &empty)).await.0, 422);
    assert!(server.ollama.requests("/api/chat").is_empty());
}

#[tokio::test]
async fn an_empty_prompt_loads_the_model_and_lets_it_go() {
    let server = start().await;
    server.ollama.on("/api/generate", Script::ok(vec![Step::Send(last_line(0))]));
    for (keep_alive, sent, reason) in [
        (json!(null), json!(null), "load"),
        (json!("5m"), json!("300000ms"), "load"),
        (json!(0), json!("0ms"), "unload"),
        (json!("0s"), json!("0ms"), "unload"),
    ] {
        let request = json!({"model": "qwen2.5:7b", "prompt": "", "keep_alive": keep_alive});
        for stream in [false, true] {
            let mut request = request.clone();
            request["stream"] = json!(stream);
            let response = server.post("/inference/generate", &request).send().await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["cache-status"]),
                (200, &"simpleton; fwd=bypass".parse().unwrap())
            );
            let text = response.text().await.unwrap();
            let reply: Value = serde_json::from_str(text.trim_start_matches("data: ")).unwrap();
            assert_eq!(
                (&reply["response"], &reply["done"], &reply["done_reason"]),
                (&json!(""), &json!(true), &json!(reason))
            );
            let asked = server.ollama.requests("/api/generate").pop().unwrap();
            assert_eq!((&asked["prompt"], &asked["keep_alive"]), (&json!(""), &sent));
        }
    }
    let calls = "simpleton_llm_requests_total{model=\"qwen2.5:7b\",endpoint=\"/inference/generate\"}";
    assert_eq!(server.metric(calls).await, 8.0);
    server.ollama.on("/api/generate", Script::error(404, "model 'nope' not found"));
    let unknown = problem(server.post("/inference/generate", &json!({"model": "nope", "prompt": ""}))).await;
    assert_eq!(unknown.0, 404);
    for more in [json!({"images": [tiny_bmp()]}), json!({"context": [1]})] {
        let mut request = json!({"prompt": ""});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(problem(server.post("/inference/generate", &request)).await.0, 422, "{more}");
    }
}

#[tokio::test]
async fn tools_need_a_model_that_can_use_them() {
    let server = start().await;
    let shown = json!({"capabilities": ["completion", "vision"]});
    server.ollama.on("/api/show llava:latest", Script::ok(vec![Step::Send(shown.to_string())]));
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let request = |tools: Value, images: Value| json!({"model": "llava", "messages": [{"role": "user", "content": "hi", "images": images}], "tools": tools});
    for images in [json!([]), json!([tiny_bmp()])] {
        let (status, refusal) =
            problem(server.post("/inference/chat", &request(json!([tool]), images))).await;
        assert_eq!(status, 422);
        assert_eq!(refusal["detail"], "model llava cannot use tools; these can: qwen2.5:7b.");
    }
    let without = server.post("/inference/chat", &request(json!([]), json!([]))).send().await.unwrap();
    assert_eq!(without.status(), 200);
}

/// A 1×1 bitmap.
fn tiny_bmp() -> String {
    use base64::Engine;
    let mut bytes = b"BM".to_vec();
    bytes.extend_from_slice(&58u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for number in [54u32, 40, 1, 1] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&[1, 0, 24, 0]);
    bytes.extend_from_slice(&[0; 24]);
    bytes.extend_from_slice(&[0, 0, 255, 0]);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

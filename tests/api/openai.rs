//! OpenAI's API, in front of a scripted Ollama.

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, json as body, start},
    ollama::{
        lines::last_line,
        scripted::{Script, Step},
    },
};

fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

async fn chat(server: &TestServer, request: &Value) -> Response {
    server.post("/v1/chat/completions", request).send().await.unwrap()
}

/// The status of a refusal, and its parameter.
async fn refusal(server: &TestServer, path: &str, request: &Value) -> (u16, Option<String>) {
    let response = server.post(path, request).send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let refusal = body(response).await;
    let error = &refusal["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{refusal}");
    assert_eq!(error["type"], "invalid_request_error", "{refusal}");
    (status, error["param"].as_str().map(str::to_owned))
}

/// The JSON of each event, and whether `[DONE]` is the last.
async fn chunks(response: Response) -> (Vec<Value>, bool) {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let mut data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let is_done = data.pop_if(|last| *last == "[DONE]").is_some();
    (data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect(), is_done)
}

#[tokio::test]
async fn a_chat_completion_has_openais_shape() {
    let server = start().await;
    let request = json!({"model": "qwen2.5:7b", "messages": [{"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}], "temperature": 0, "top_p": 0.5, "seed": 7,
        "stop": ["x"], "max_completion_tokens": 5, "frequency_penalty": 0.5, "presence_penalty": -0.5,
        "response_format": {"type": "json_object"}});
    let reply = body(chat(&server, &request).await).await;
    let id = reply["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("chatcmpl-") && reply["created"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(
        reply,
        json!({"id": id, "object": "chat.completion", "created": reply["created"], "model": "qwen2.5:7b",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello wörld", "refusal": null},
                "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
    );
    let sent = &server.ollama.requests("/api/chat")[0];
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]);
    assert_eq!((&sent["messages"], &sent["format"]), (&messages, &json!("json")));
    assert_eq!(
        sent["options"],
        json!({"temperature": 0.0, "top_p": 0.5, "seed": 7, "stop": ["x"], "num_predict": 5,
            "frequency_penalty": 0.5, "presence_penalty": -0.5})
    );
}

#[tokio::test]
async fn a_stream_ends_with_the_usage_and_done() {
    let server = start().await;
    let request = json!({"messages": hello(), "stream": true, "stream_options": {"include_usage": true}});
    let (chunks, is_done) = chunks(chat(&server, &request).await).await;
    assert!(is_done);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
    );
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "Hello wörld");
    let [.., end, usage] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(
        end["choices"][0],
        json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"})
    );
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(10)));
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk["usage"].is_null()));
    let plain = json!({"messages": hello(), "stream": true});
    let (chunks, _) = self::chunks(chat(&server, &plain).await).await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn tools_are_called_and_their_results_taken() {
    let server = start().await;
    let called = json!({"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"city": "Paris"}}},
        {"function": {"name": "weather", "arguments": {"city": "Rome"}}}]}, "done": false});
    let script = Script::ok(vec![Step::Send(format!("{called}\n{}", last_line(9)))]);
    server.ollama.on("/api/chat", script);
    let tool = json!({"type": "function", "function": {"name": "weather", "strict": true, "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false}}});
    let mut request = json!({"messages": hello(), "tools": [tool]});
    let reply = body(chat(&server, &request).await).await;
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    let id = calls[0]["id"].as_str().unwrap();
    assert!(id.starts_with("call_") && calls[1]["id"] != calls[0]["id"]);
    assert_eq!(
        calls[0],
        json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}})
    );
    request["parallel_tool_calls"] = json!(false);
    request["stream"] = json!(true);
    let (chunks, _) = chunks(chat(&server, &request).await).await;
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"])
        .filter(|calls| !calls.is_null())
        .collect();
    assert_eq!(deltas.len(), 1, "{chunks:?}");
    assert_eq!((&deltas[0][0]["index"], &deltas[0][0]["function"]["name"]), (&json!(0), &json!("weather")));

    let asked = json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [calls[0]]});
    let result = json!({"role": "tool", "tool_call_id": id, "content": "sunny"});
    let turns = json!({"messages": [hello()[0], asked, result]});
    assert_eq!(chat(&server, &turns).await.status(), 200);
    let sent = &server.ollama.requests("/api/chat")[2]["messages"];
    assert_eq!((&sent[2]["tool_call_id"], &sent[2]["tool_name"]), (&json!(id), &json!("weather")));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_by_its_name() {
    let server = start().await;
    let chat = |field: &str, value: Value| {
        let mut request = json!({"messages": hello()});
        request[field] = value;
        request
    };
    let image =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]);
    let answers =
        json!([{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "none", "content": "5"}]);
    let nameless = json!([{"role": "assistant", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "", "arguments": "{}"}}]}]);
    for (request, param) in [
        (chat("temprature", json!(1)), "temprature"),
        (chat("temperature", json!(3)), "temperature"),
        (chat("n", json!(1_000_000_000)), "n"),
        (chat("n", json!(0)), "n"),
        (chat("top_logprobs", json!(2)), "top_logprobs"),
        (chat("logit_bias", json!({"a": 1})), "logit_bias"),
        (chat("logit_bias", json!({"5": 101})), "logit_bias[5]"),
        (chat("logprobs", json!(true)), "logprobs"),
        (chat("tool_choice", json!("sometimes")), "tool_choice"),
        (chat("tool_choice", json!("required")), "tool_choice"),
        (chat("modalities", json!(["audio"])), "modalities[0]"),
        (chat("functions", json!([])), "functions"),
        (chat("audio", json!({})), "audio"),
        (chat("response_format", json!({"type": "json_schema"})), "response_format.json_schema"),
        (chat("messages", json!([])), "messages"),
        (chat("messages", json!([{"role": "user", "content": []}])), "messages[0].content"),
        (chat("messages", json!([{"role": "user", "content": null}])), "messages[0].content"),
        (
            chat("messages", json!([{"role": "user", "content": [{"type": "input_audio"}]}])),
            "messages[0].content[0].type",
        ),
        (chat("messages", image), "messages[0].content[0].image_url.url"),
        (chat("messages", answers), "messages[1].tool_call_id"),
        (chat("messages", json!([{"role": "tool", "content": "5"}])), "messages[0].tool_call_id"),
        (chat("messages", nameless), "messages[0].tool_calls[0].function.name"),
    ] {
        let refused = refusal(&server, "/v1/chat/completions", &request).await;
        assert_eq!(refused, (400, Some(param.to_owned())), "{request}");
    }
    let prompt = |field: &str, value: Value| {
        let mut request = json!({"prompt": "a"});
        request[field] = value;
        request
    };
    for (request, param) in [
        (prompt("prompt", json!("")), "prompt"),
        (prompt("prompt", json!([])), "prompt"),
        (prompt("prompt", json!(["a", ""])), "prompt[1]"),
        (prompt("prompt", json!([1, "a"])), "prompt"),
        (prompt("best_of", json!(2)), "best_of"),
        (prompt("n", json!(17)), "n"),
        (prompt("logprobs", json!(6)), "logprobs"),
    ] {
        let refused = refusal(&server, "/v1/completions", &request).await;
        assert_eq!(refused, (400, Some(param.to_owned())), "{request}");
    }
    for (request, param) in [
        (json!({"input": []}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": ["a", ""]}), "input[1]"),
        (json!({"input": "a", "dimensions": 1}), "dimensions"),
        (json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
        (json!({"input": [1, 2]}), "input"),
    ] {
        let refused = refusal(&server, "/v1/embeddings", &request).await;
        assert_eq!(refused, (400, Some(param.to_owned())), "{request}");
    }
    assert_eq!(server.ollama.requests("/api/chat").len() + server.ollama.requests("/api/generate").len(), 0);
}

#[tokio::test]
async fn errors_have_openais_envelope_everywhere() {
    let server = start().await;
    let no_key = server.client.post(server.url("/v1/chat/completions")).body("{}").send().await.unwrap();
    assert_eq!(no_key.status(), 401);
    assert_eq!(body(no_key).await["error"]["code"], "invalid_api_key");
    let bearer = server.get("/v1/models").bearer_auth(KEY).send().await.unwrap();
    assert_eq!(bearer.status(), 200);
    for (method, path, status) in [
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/models/%2F%2F", 404),
    ] {
        let url = server.url(path);
        let response =
            server.client.request(method.parse().unwrap(), url).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(body(response).await["error"]["type"], "invalid_request_error", "{path}");
    }
    let broken = server.post_text("/v1/chat/completions", "{").send().await.unwrap();
    assert_eq!((broken.status().as_u16(), &body(broken).await["error"]["param"]), (400, &Value::Null));
    server.ollama.on("/api/chat", Script::error(404, "model 'x' not found"));
    let missing = chat(&server, &json!({"model": "x", "messages": hello()})).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(body(missing).await["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn an_empty_answer_begins_with_its_role_too() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(last_line(0))]));
    let request = json!({"messages": hello(), "stream": true});
    let (chunks, is_done) = chunks(chat(&server, &request).await).await;
    let choices: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]).collect();
    assert!(is_done && choices.len() == 2, "{chunks:?}");
    assert_eq!(choices[0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!((&choices[1]["delta"], &choices[1]["finish_reason"]), (&json!({}), &json!("stop")));
}

#[tokio::test]
async fn the_detail_of_an_image_is_one_of_openais() {
    let server = start().await;
    let image = json!({"url": "data:image/png;base64,", "detail": "sharp"});
    let request =
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}]});
    let (status, param) = refusal(&server, "/v1/chat/completions", &request).await;
    assert_eq!((status, param.as_deref()), (400, Some("messages[0].content[0].image_url.detail")));
}

#[tokio::test]
async fn a_failure_in_a_stream_is_an_error_and_no_done() {
    let server = start().await;
    let line = r#"{"model":"m","message":{"role":"assistant","content":"a"},"done":false}"#;
    let steps = vec![Step::Send(format!("{line}\n")), Step::Send("{\"error\":\"no memory\"}\n".to_owned())];
    server.ollama.on("/api/chat", Script::ok(steps));
    let request = json!({"messages": hello(), "stream": true});
    let (chunks, is_done) = chunks(chat(&server, &request).await).await;
    assert!(!is_done);
    assert_eq!(chunks.last().unwrap()["error"]["type"], "server_error");
}

#[tokio::test]
async fn several_answers_come_in_one_reply() {
    let server = start().await;
    let request = json!({"messages": hello(), "n": 3, "seed": 5});
    let reply = body(chat(&server, &request).await).await;
    let choices = reply["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(reply["usage"], json!({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}));
    let mut seeds: Vec<i64> = server
        .ollama
        .requests("/api/chat")
        .iter()
        .map(|sent| sent["options"]["seed"].as_i64().unwrap())
        .collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [5, 6, 7]);
    let usage = server.get("/analytics/usage?by=endpoint").header("x-api-key", KEY).send().await.unwrap();
    let counted = &body(usage).await["usage"][0];
    assert_eq!(
        (&counted["prompt_tokens"], &counted["completion_tokens"]),
        (&json!(21), &json!(9)),
        "{counted}"
    );
    let request = json!({"messages": hello(), "n": 2, "stream": true});
    let (chunks, is_done) = chunks(chat(&server, &request).await).await;
    let text = |index: u64| -> String {
        let of = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == index);
        of.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
    };
    assert!(is_done);
    assert_eq!([text(0), text(1)], ["Hello wörld", "Hello wörld"]);
}

#[tokio::test]
async fn what_has_no_effect_is_named() {
    let server = start().await;
    let request = json!({"messages": [{"role": "user", "content": "hi", "name": "ann"}], "user": "u", "store": true,
        "metadata": {}, "service_tier": null, "reasoning_effort": null});
    let response = chat(&server, &request).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "user, store, metadata, messages.name");
    let plain = chat(&server, &json!({"messages": hello()})).await;
    assert_eq!(plain.headers().get("x-simpleton-ignored"), None);
}

#[tokio::test]
async fn completions_send_the_prompt_as_it_is() {
    let server = start().await;
    let request = json!({"prompt": ["a", "b"], "echo": true, "max_tokens": 3, "temperature": 0});
    let reply = body(server.post("/v1/completions", &request).send().await.unwrap()).await;
    assert_eq!(reply["object"], "text_completion");
    let texts: Vec<&str> =
        reply["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["aParis", "bParis"]);
    let sent = server.ollama.requests("/api/generate");
    assert!(sent.iter().all(|sent| sent["raw"] == true && sent["options"]["num_predict"] == 3), "{sent:?}");
    let request = json!({"prompt": "def f(", "suffix": "return x", "stream": true});
    let (chunks, is_done) = chunks(server.post("/v1/completions", &request).send().await.unwrap()).await;
    assert!(is_done && chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "Paris");
    assert_eq!(server.ollama.requests("/api/generate")[2]["suffix"], "return x");
}

#[tokio::test]
async fn embeddings_are_numbers_or_base64() {
    let server = start().await;
    let vectors = json!({"embeddings": [[0.5, -1.25]], "prompt_eval_count": 2});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(vectors.to_string())]));
    let request = json!({"input": "hi", "model": "all-minilm", "dimensions": 2});
    let reply = body(server.post("/v1/embeddings", &request).send().await.unwrap()).await;
    assert_eq!(
        reply,
        json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}],
            "model": "all-minilm", "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    );
    let request = json!({"input": ["hi"], "encoding_format": "base64"});
    let reply = body(server.post("/v1/embeddings", &request).send().await.unwrap()).await;
    assert_eq!(reply["data"][0]["embedding"], "AAAAPwAAoL8=");
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let server = start().await;
    let list = body(server.get("/v1/models").bearer_auth(KEY).send().await.unwrap()).await;
    assert_eq!(list["object"], "list");
    let first = &list["data"][0];
    assert_eq!((&first["object"], &first["owned_by"]), (&json!("model"), &json!("ollama")));
    let path = format!("/v1/models/{}", first["id"].as_str().unwrap());
    assert_eq!(&body(server.get(&path).bearer_auth(KEY).send().await.unwrap()).await, first);
}

//! OpenAI's Responses API, in front of a scripted Ollama.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, events, json as body, start, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

pub async fn respond(server: &TestServer, request: &Value) -> Response {
    server.post("/v1/responses", request).send().await.unwrap()
}

pub async fn created(server: &TestServer, request: &Value) -> Value {
    let response = respond(server, request).await;
    assert_eq!(response.status(), 200, "{request}");
    body(response).await
}

pub fn id_of(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

/// The status and the JSON of a request for a stored response.
pub async fn stored(server: &TestServer, method: &str, path: &str, key: &str) -> (u16, Value) {
    let url = server.url(&format!("/v1/responses/{path}"));
    let request = server.client.request(method.parse().unwrap(), url).bearer_auth(key);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), body(response).await)
}

/// The status of a refusal, its parameter and its code.
pub async fn refusal(server: &TestServer, request: &Value) -> (u16, String, Value) {
    let response = respond(server, request).await;
    let status = response.status().as_u16();
    let error = body(response).await["error"].take();
    assert_eq!(error["type"], "invalid_request_error", "{error}");
    (status, error["param"].as_str().unwrap_or_default().to_owned(), error["code"].clone())
}

/// Checks names and numbers of all events, and returns them.
pub async fn streamed(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let events: Vec<(String, Value)> = events(&text);
    for (number, (name, event)) in events.iter().enumerate() {
        assert_eq!(
            (name.as_str(), number),
            (event["type"].as_str().unwrap(), event["sequence_number"].as_u64().unwrap() as usize)
        );
    }
    events.into_iter().map(|(_, event)| event).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

pub fn tool() -> Value {
    json!({"type": "function", "name": "weather", "strict": true, "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false}})
}

fn thinks_and_calls(server: &TestServer) {
    let thought = json!({"model": "m", "message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": false});
    let called = json!({"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}, "done": false});
    let steps = format!("{thought}\n{}{called}\n{}", chat_line("Let me see."), last_line(9));
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(steps)]));
}

#[tokio::test]
async fn a_response_has_openais_shape() {
    let server = start().await;
    let request = json!({"model": "qwen2.5:7b", "input": [{"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "instructions": "Be brief.", "temperature": 0, "top_p": 0.5, "seed": 7, "max_output_tokens": 5,
        "text": {"format": {"type": "json_object"}}, "metadata": {"a": "b"}, "reasoning": {"effort": null}});
    let response = created(&server, &request).await;
    let id = id_of(&response);
    let digits = id.strip_prefix("resp_").unwrap();
    assert!(response["created_at"].as_i64().unwrap() > 1_700_000_000);
    assert!(response["completed_at"].as_i64() >= response["created_at"].as_i64());
    assert_eq!(
        response,
        json!({"id": id, "object": "response", "created_at": response["created_at"],
            "completed_at": response["completed_at"], "status": "completed", "background": false, "error": null,
            "incomplete_details": null, "instructions": "Be brief.", "max_output_tokens": 5,
            "metadata": {"a": "b"}, "model": "qwen2.5:7b", "output": [{"type": "message",
                "id": format!("msg_{digits}002"), "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello wörld", "annotations": []}]}],
            "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "store": true, "temperature": 0.0,
            "text": {"format": {"type": "json_object"}}, "tool_choice": "auto", "tools": [], "top_logprobs": 0,
            "top_p": 0.5, "truncation": "disabled", "usage": {"input_tokens": 7,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 3,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 10}})
    );
    let sent = &server.ollama.requests("/api/chat")[0];
    let messages =
        json!([{"role": "system", "content": "Be brief.\n\nBe kind."}, {"role": "user", "content": "hi"}]);
    assert_eq!((&sent["messages"], &sent["format"]), (&messages, &json!("json")));
    assert_eq!(sent["options"], json!({"temperature": 0.0, "top_p": 0.5, "seed": 7, "num_predict": 5}));
}

#[tokio::test]
async fn events_come_in_openais_order() {
    let server = start().await;
    thinks_and_calls(&server);
    let request = json!({"input": "Weather?", "tools": [tool()], "stream": true});
    let events = streamed(respond(&server, &request).await).await;
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names(&events), expected);
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!((&events[4]["delta"], &events[5]["text"]), (&json!("Hm."), &json!("Hm.")));
    assert_eq!((&events[10]["delta"], &events[11]["text"]), (&json!("Let me see."), &json!("Let me see.")));
    assert_eq!(events[10]["logprobs"], json!([]));
    assert_eq!(events[14]["item"]["arguments"], "");
    assert_eq!(events[16]["arguments"], "{\"city\":\"Paris\"}");
    let response = &events[18]["response"];
    let output = response["output"].as_array().unwrap();
    for (index, item) in output.iter().enumerate() {
        let done = events
            .iter()
            .find(|event| event["type"] == "response.output_item.done" && event["output_index"] == index);
        assert_eq!(&done.unwrap()["item"], item);
    }
    assert_eq!(events[4]["item_id"], output[0]["id"]);
    assert_eq!(output[0]["content"], json!([{"type": "reasoning_text", "text": "Hm."}]));
    assert_eq!(output[0]["summary"], json!([]));
    let (_, kept) = stored(&server, "GET", id_of(response), KEY).await;
    assert_eq!(&kept, response, "stored before its end is told");
}

#[tokio::test]
async fn a_tool_is_called_and_its_output_taken() {
    let server = start().await;
    thinks_and_calls(&server);
    let first = created(&server, &json!({"input": "Weather?", "tools": [tool()]})).await;
    let call = &first["output"][2];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("weather")));
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"});
    let next = json!({"input": [output], "tools": [tool()], "previous_response_id": first["id"]});
    created(&server, &next).await;
    let mut whole = vec![json!({"role": "user", "content": "Weather?"})];
    whole.extend(first["output"].as_array().unwrap().iter().cloned());
    whole.push(output);
    created(&server, &json!({"input": whole, "tools": [tool()], "store": false})).await;
    let sent = server.ollama.requests("/api/chat");
    assert_eq!(sent[1]["messages"], sent[2]["messages"]);
    let messages = sent[1]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert_eq!(messages[1]["tool_calls"][0]["function"]["arguments"], json!({"city": "Paris"}));
    assert_eq!(
        (&messages[2]["role"], &messages[2]["content"], &messages[2]["tool_name"]),
        (&json!("tool"), &json!("sunny"), &json!("weather"))
    );
}

#[tokio::test]
async fn a_failure_in_a_stream_is_a_failed_response() {
    let server = start().await;
    let steps = vec![Step::Send(chat_line("a")), Step::Send("{\"error\":\"no memory\"}\n".to_owned())];
    server.ollama.on("/api/chat", Script::ok(steps));
    let told = streamed(respond(&server, &json!({"input": "hi", "stream": true})).await).await;
    assert_eq!(names(&told)[names(&told).len() - 2..], ["output_item.done", "failed"]);
    let response = &told.last().unwrap()["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"], &response["store"]),
        (&json!("failed"), &json!("server_error"), &json!(false))
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(stored(&server, "GET", id_of(response), KEY).await.0, 404);
    // Before there is a response, but after the headers.
    let server = start_with(&[("STREAM_HEADERS_AFTER_S", "0")]).await;
    server.ollama.on(
        "/api/chat",
        Script { delay: Some(Duration::from_millis(200)), ..Script::error(500, "no memory") },
    );
    let text = respond(&server, &json!({"input": "hi", "stream": true})).await.text().await.unwrap();
    let text = text.replace(": ping\n\n", "");
    let (name, event) = &events(&text)[0];
    assert_eq!(
        (name.as_str(), &event["type"], &event["sequence_number"]),
        ("error", &json!("error"), &json!(0))
    );
    assert!(
        event["message"].is_string() && event["param"].is_null() && event.get("code").is_some(),
        "{event}"
    );
    let refused = respond(&server, &json!({"input": "hi"})).await;
    assert_eq!(
        (refused.status().as_u16(), &body(refused).await["error"]["type"]),
        (502, &json!("server_error"))
    );
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_incomplete() {
    let server = start().await;
    let end = last_line(1).replace("\"done_reason\":\"stop\"", "\"done_reason\":\"length\"");
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a") + &end)]));
    let request = json!({"input": "hi", "max_output_tokens": 1});
    let response = created(&server, &request).await;
    assert_eq!((&response["status"], &response["completed_at"]), (&json!("incomplete"), &Value::Null));
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
    let mut request = request;
    request["stream"] = json!(true);
    let events = streamed(respond(&server, &request).await).await;
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");
}

#[tokio::test]
async fn one_cache_entry_serves_every_dialect() {
    let server = start().await;
    let hit = |response: &Response| response.headers()["cache-status"].to_str().unwrap().contains("; hit");
    let chat = json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 0});
    assert!(!hit(&server.post("/v1/chat/completions", &chat).send().await.unwrap()));
    let mut request = json!({"input": "hi", "temperature": 0});
    let first = respond(&server, &request).await;
    assert!(hit(&first));
    request["stream"] = json!(true);
    let second = respond(&server, &request).await;
    assert!(hit(&second));
    let (first, second) = (body(first).await, streamed(second).await.pop().unwrap()["response"].take());
    assert!(first["id"] != second["id"] && first["output"][0]["content"] == second["output"][0]["content"]);
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
    let counted =
        server.metric("simpleton_requests_total{method=\"POST\",endpoint=\"/v1/responses\",status=\"200\"}");
    assert_eq!(counted.await, 2.0);
    stored(&server, "GET", id_of(&first), KEY).await;
    let counted = server
        .metric("simpleton_requests_total{method=\"GET\",endpoint=\"/v1/responses/{id}\",status=\"200\"}");
    assert_eq!(counted.await, 1.0);
}

#[tokio::test]
async fn images_are_sent_and_stored() {
    let server = start().await;
    let pixel =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let image = json!({"type": "input_image", "image_url": format!("data:image/png;base64,{pixel}"), "detail": "auto"});
    let content = json!([{"type": "input_text", "text": "What is this?"}, image]);
    let request = json!({"model": "llava", "input": [{"role": "user", "content": content}], "include": ["message.input_image.image_url"]});
    let first = created(&server, &request).await;
    let (_, items) = stored(&server, "GET", &format!("{}/input_items", id_of(&first)), KEY).await;
    let kept = items["data"][0]["content"][1]["image_url"].as_str().unwrap();
    assert!(kept.starts_with("data:image/png;base64,"), "{items}");
    created(&server, &json!({"model": "llava", "input": "And now?", "previous_response_id": first["id"]}))
        .await;
    let sent = server.ollama.requests("/api/chat");
    assert_eq!(sent[0]["messages"][0]["images"], sent[1]["messages"][0]["images"]);
    assert_eq!(sent[1]["messages"].as_array().unwrap().len(), 3);
}

//! OpenAI's Responses API, in front of a scripted Ollama.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, events, eventually, json as body, start, start_with},
    kill::serve,
    ollama::{
        lines::{chat_line, last_line},
        scripted::{FakeOllama, Script, Step},
    },
};

const OTHER_KEY: &str = "other-key-0123456789";

async fn respond(server: &TestServer, request: &Value) -> Response {
    server.post("/v1/responses", request).send().await.unwrap()
}

async fn created(server: &TestServer, request: &Value) -> Value {
    let response = respond(server, request).await;
    assert_eq!(response.status(), 200, "{request}");
    body(response).await
}

fn id_of(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

/// The status and the JSON of a request for a stored response.
async fn stored(server: &TestServer, method: &str, path: &str, key: &str) -> (u16, Value) {
    let url = server.url(&format!("/v1/responses/{path}"));
    let request = server.client.request(method.parse().unwrap(), url).bearer_auth(key);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), body(response).await)
}

/// The status of a refusal, its parameter and its code.
async fn refusal(server: &TestServer, request: &Value) -> (u16, String, Value) {
    let response = respond(server, request).await;
    let status = response.status().as_u16();
    let error = body(response).await["error"].take();
    assert_eq!(error["type"], "invalid_request_error", "{error}");
    (status, error["param"].as_str().unwrap_or_default().to_owned(), error["code"].clone())
}

/// Checks names and numbers of all events, and returns them.
async fn streamed(response: Response) -> Vec<Value> {
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

fn tool() -> Value {
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
async fn a_conversation_goes_on_from_what_is_stored() {
    let server = start().await;
    let first = created(&server, &json!({"input": "one", "instructions": "Be brief."})).await;
    let request = json!({"input": "two", "previous_response_id": first["id"], "stream": true});
    let events = streamed(respond(&server, &request).await).await;
    let second = &events.last().unwrap()["response"];
    assert_eq!(second["previous_response_id"], first["id"]);
    created(&server, &json!({"input": "three", "previous_response_id": second["id"]})).await;
    let said = |at: usize| -> Vec<String> {
        let messages = server.ollama.requests("/api/chat")[at]["messages"].take();
        let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
        messages.as_array().unwrap().iter().map(text).collect()
    };
    assert_eq!(said(0), ["Be brief.", "one"]);
    assert_eq!(said(2), ["one", "Hello wörld", "two", "Hello wörld", "three"], "without the instructions");
    // An item alone, by its id.
    let reference = json!({"type": "item_reference", "id": second["output"][0]["id"]});
    created(&server, &json!({"input": [reference, {"role": "user", "content": "four"}]})).await;
    assert_eq!(said(3), ["Hello wörld", "four"]);

    let (status, items) = stored(&server, "GET", &format!("{}/input_items", id_of(second)), KEY).await;
    assert_eq!((status, items["data"].as_array().unwrap().len()), (200, 1));
    assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "two"}]));
    let (status, deleted) = stored(&server, "DELETE", id_of(&first), KEY).await;
    assert_eq!((status, deleted), (200, json!({"id": first["id"], "object": "response", "deleted": true})));
    let gone = json!({"input": "x", "previous_response_id": second["id"]});
    let code = json!("previous_response_not_found");
    assert_eq!(refusal(&server, &gone).await, (400, "previous_response_id".to_owned(), code));
    assert_eq!(stored(&server, "GET", id_of(&first), KEY).await.0, 404);
    assert_eq!(stored(&server, "GET", id_of(second), KEY).await.0, 200);
}

#[tokio::test]
async fn input_items_come_in_pages() {
    let server = start().await;
    let message = |text: &str| json!({"role": "user", "content": text});
    let input: Vec<Value> = ["a", "b", "c"].map(message).into();
    let response = created(&server, &json!({"input": input})).await;
    let page = async |query: &str| {
        let (status, page) =
            stored(&server, "GET", &format!("{}/input_items?{query}", id_of(&response)), KEY).await;
        assert_eq!(status, 200, "{page}");
        let texts: Vec<String> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
            .collect();
        (
            texts.concat(),
            page["has_more"].as_bool().unwrap(),
            page["last_id"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (texts, has_more, _) = page("").await;
    assert_eq!((texts.as_str(), has_more), ("cba", false));
    let (texts, has_more, last) = page("order=asc&limit=2").await;
    assert_eq!((texts.as_str(), has_more), ("ab", true));
    let (texts, has_more, _) = page(&format!("order=asc&after={last}")).await;
    assert_eq!((texts.as_str(), has_more), ("c", false));
    for query in ["limit=0", "limit=101", "order=up", "after=none", "page=2"] {
        let (status, error) =
            stored(&server, "GET", &format!("{}/input_items?{query}", id_of(&response)), KEY).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(query.split('=').next())), "{error}");
    }
}

#[tokio::test]
async fn a_response_is_for_its_own_key_only() {
    let server = start_with(&[("API_KEYS", &format!("{KEY},{OTHER_KEY}"))]).await;
    let response = created(&server, &json!({"input": "secret"})).await;
    let id = id_of(&response);
    let none = "resp_0123456789abcdef0123456789abcdef";
    for (method, path) in [
        ("GET", String::new()),
        ("DELETE", String::new()),
        ("POST", "/cancel".to_owned()),
        ("GET", "/input_items".to_owned()),
    ] {
        let (status, others) = stored(&server, method, &format!("{id}{path}"), OTHER_KEY).await;
        assert_eq!(
            (status, &others["error"]["code"]),
            (404, &json!("response_not_found")),
            "{method} {path}"
        );
        for unknown in [none, "resp_1", "nothing"] {
            let missing = stored(&server, method, &format!("{unknown}{path}"), KEY).await;
            assert_eq!((missing.0, &missing.1["error"]["code"]), (404, &json!("response_not_found")));
        }
    }
    let item = json!({"type": "item_reference", "id": response["output"][0]["id"]});
    for (request, param) in [
        (json!({"input": "x", "previous_response_id": id}), "previous_response_id"),
        (json!({"input": [item]}), "input[0].id"),
    ] {
        let send = server
            .client
            .post(server.url("/v1/responses"))
            .bearer_auth(OTHER_KEY)
            .body(request.to_string())
            .send();
        let refused = send.await.unwrap();
        assert_eq!(refused.status(), 400);
        assert_eq!(body(refused).await["error"]["param"], param);
    }
    assert_eq!(stored(&server, "GET", id, KEY).await.0, 200);
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not() {
    let server = start().await;
    let response = created(&server, &json!({"input": "hi", "store": false})).await;
    assert_eq!(response["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 404);
    // A client that has left has no response.
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut stream = respond(&server, &json!({"input": "hi", "stream": true})).await;
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let id = events(&first)[0].1["response"]["id"].as_str().unwrap().to_owned();
    drop(stream);
    eventually("the backend is stopped", async || server.ollama.aborted() == 1).await;
    assert_eq!(stored(&server, "GET", &id, KEY).await.0, 404);
}

#[tokio::test]
async fn a_server_that_stores_nothing_says_so() {
    let server = start_with(&[("RESPONSES_MAX_MB", "0")]).await;
    let response = respond(&server, &json!({"input": "hi"})).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "store");
    let response = body(response).await;
    assert_eq!(response["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 404);
    let plain = respond(&server, &json!({"input": "hi", "store": false})).await;
    assert_eq!(plain.headers().get("x-simpleton-ignored"), None);
    for (request, param) in [
        (json!({"input": "hi", "store": true}), "store"),
        (json!({"input": "hi", "background": true}), "background"),
        (json!({"input": "hi", "previous_response_id": response["id"]}), "previous_response_id"),
    ] {
        assert_eq!(refusal(&server, &request).await.1, param);
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_stored_is_answered_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let file = folder.path().join("state/responses.db");
    std::fs::write(&file, "This is not a database.".repeat(100)).unwrap();
    let server = start_with(&[("DATA_DIR", folder.path().to_str().unwrap())]).await;
    let response = respond(&server, &json!({"input": "hi", "store": true})).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-simpleton-ignored"]),
        (200, &"store".parse().unwrap())
    );
    let response = body(response).await;
    assert_eq!((&response["store"], &response["status"]), (&json!(false), &json!("completed")));
    let events = streamed(respond(&server, &json!({"input": "hi", "stream": true})).await).await;
    assert_eq!(events.last().unwrap()["response"]["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 503);
    let background = respond(&server, &json!({"input": "hi", "background": true})).await;
    assert_eq!(background.status(), 503);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("This is not a database."));
}

#[tokio::test]
async fn stored_responses_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut server, url) = serve(folder.path(), &ollama.url()).await;
    let ask = async |url: &str, request: Value| {
        body(
            client
                .post(format!("{url}/v1/responses"))
                .bearer_auth(KEY)
                .body(request.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let response = ask(&url, json!({"input": "hi"})).await;
    ollama.on("/api/chat", Script { delay: None, ..Script::ok(Vec::new()) });
    let background = ask(&url, json!({"input": "hi", "background": true})).await;
    server.kill().await.unwrap();
    let (_server, url) = serve(folder.path(), &ollama.url()).await;
    let get = async |id: &str| {
        body(client.get(format!("{url}/v1/responses/{id}")).bearer_auth(KEY).send().await.unwrap()).await
    };
    assert_eq!(get(id_of(&response)).await, response);
    let lost = get(id_of(&background)).await;
    assert_eq!((&lost["status"], &lost["error"]["code"]), (&json!("failed"), &json!("server_error")));
}

#[tokio::test]
async fn a_response_in_the_background_goes_on_without_its_client() {
    let server = start().await;
    let script = Script::chat(&["Hello", " you"], Duration::from_millis(300));
    server.ollama.on("/api/chat", script);
    let queued = created(&server, &json!({"input": "hi", "background": true})).await;
    assert!(queued["status"] == "queued" && queued["background"] == true && queued["output"] == json!([]));
    let id = id_of(&queued);
    eventually("it is begun", async || stored(&server, "GET", id, KEY).await.1["status"] != "queued").await;
    let unfinished = json!({"input": "more", "previous_response_id": id});
    assert_eq!(refusal(&server, &unfinished).await.1, "previous_response_id");
    eventually("it is completed", async || stored(&server, "GET", id, KEY).await.1["status"] == "completed")
        .await;
    let (_, completed) = stored(&server, "GET", id, KEY).await;
    assert_eq!(completed["output"][0]["content"][0]["text"], "Hello you");
    assert_eq!(completed["usage"]["output_tokens"], 2);
    let (status, same) = stored(&server, "POST", &format!("{id}/cancel"), KEY).await;
    assert_eq!((status, same), (200, completed));
    eventually("its tokens are counted", async || {
        let usage = server.get("/analytics/usage?by=endpoint").header("x-api-key", KEY).send().await.unwrap();
        body(usage).await["usage"][0]["completion_tokens"] == 2
    })
    .await;
    created(&server, &unfinished).await;
}

#[tokio::test]
async fn a_response_in_the_background_can_be_cancelled_and_deleted() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let request = json!({"input": "hi", "background": true});
    let cancelled = created(&server, &request).await;
    eventually("it is asked", async || server.ollama.requests("/api/chat").len() == 1).await;
    let (status, response) = stored(&server, "POST", &format!("{}/cancel", id_of(&cancelled)), KEY).await;
    assert_eq!((status, &response["status"]), (200, &json!("cancelled")));
    eventually("the backend is stopped", async || server.ollama.aborted() == 1).await;
    let deleted = created(&server, &request).await;
    eventually("it is asked", async || server.ollama.requests("/api/chat").len() == 2).await;
    assert_eq!(stored(&server, "DELETE", id_of(&deleted), KEY).await.0, 200);
    assert_eq!(stored(&server, "GET", id_of(&deleted), KEY).await.0, 404);
    eventually("the backend is stopped", async || server.ollama.aborted() == 2).await;

    server.ollama.on("/api/chat", Script::error(500, "no memory"));
    let failed = created(&server, &request).await;
    let get = async || stored(&server, "GET", id_of(&failed), KEY).await.1;
    eventually("it has failed", async || get().await["status"] == "failed").await;
    assert_eq!(get().await["error"]["code"], "server_error");
}

#[tokio::test]
async fn only_so_many_responses_are_in_the_background() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    for number in 0..16 {
        created(&server, &json!({"input": number.to_string(), "background": true})).await;
    }
    let refused = respond(&server, &json!({"input": "one more", "background": true})).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(body(refused).await["error"]["code"], "rate_limit_exceeded");
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

#[tokio::test]
async fn what_cannot_be_served_is_refused_by_its_name() {
    let server = start().await;
    let with = |field: &str, value: Value| {
        let mut request = json!({"input": "hi"});
        request[field] = value;
        request
    };
    let item = |item: Value| json!({"input": [{"role": "user", "content": "?"}, item]});
    let part = |part: Value| json!({"input": [{"role": "user", "content": [part]}]});
    let call = |arguments: &str| json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": arguments});
    let schema = |schema: Value| {
        with("text", json!({"format": {"type": "json_schema", "name": "a", "schema": schema}}))
    };
    let cycle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}});
    let many: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    let long = json!({"a": "b".repeat(513)});
    for (request, param) in [
        (json!({}), "input"),
        (with("input", json!("")), "input"),
        (with("input", json!([])), "input"),
        (with("input", json!(5)), "input"),
        (with("input", json!([{"role": "user"}])), "input[0].content"),
        (with("input", json!([{"content": "x"}])), "input[0].role"),
        (with("input", json!([{"role": "tool", "content": "x"}])), "input[0].role"),
        (with("input", json!([{"role": "user", "content": []}])), "input[0].content"),
        (item(json!({"type": "web_search_call"})), "input[1].type"),
        (item(json!({"type": "function_call_output", "call_id": "1", "output": "5"})), "input[1].call_id"),
        (item(json!({"type": "function_call_output", "output": "5"})), "input[1].call_id"),
        (item(json!({"type": "function_call", "call_id": "1", "arguments": "{}"})), "input[1].name"),
        (item(call("[]")), "input[1].arguments"),
        (item(json!({"type": "message", "role": "user", "content": "x", "output": "y"})), "input[1].output"),
        (item(json!({"type": "item_reference", "id": "msg_1"})), "input[1].id"),
        (item(json!({"type": "item_reference", "id": "msg_1", "role": "user"})), "input[1].role"),
        (part(json!({"type": "input_audio"})), "input[0].content[0].type"),
        (part(json!({"type": "input_file"})), "input[0].content[0].type"),
        (part(json!({"type": "input_text"})), "input[0].content[0].text"),
        (
            part(json!({"type": "input_image", "image_url": "https://a/b.png"})),
            "input[0].content[0].image_url",
        ),
        (part(json!({"type": "input_image", "file_id": "a"})), "input[0].content[0].file_id"),
        (with("tools", json!([{"type": "web_search"}])), "tools[0].type"),
        (with("tools", json!([tool(), tool()])), "tools[1].name"),
        (with("tool_choice", json!("required")), "tool_choice"),
        (with("tool_choice", json!({"type": "file_search"})), "tool_choice"),
        (
            json!({"input": "x", "tools": [tool()], "tool_choice": {"type": "allowed_tools", "mode": "auto",
            "tools": [{"type": "function", "name": "g"}]}}),
            "tool_choice.tools[0].name",
        ),
        (
            json!({"input": "x", "tools": [tool()], "text": {"format": {"type": "json_object"}}}),
            "text.format",
        ),
        (with("text", json!({"format": {"type": "json_schema", "name": "a"}})), "text.format.schema"),
        (schema(json!([])), "text.format.schema"),
        (schema(cycle), "text.format"),
        (schema(json!({"type": "object", "properties": many})), "text.format"),
        (with("previous_response_id", json!("resp_0")), "previous_response_id"),
        (with("conversation", json!("conv_1")), "conversation"),
        (with("prompt", json!({"id": "a"})), "prompt"),
        (with("truncation", json!("auto")), "truncation"),
        (with("include", json!(["file_search_call.results"])), "include[0]"),
        (with("top_logprobs", json!(2)), "top_logprobs"),
        (with("include", json!(["message.output_text.logprobs"])), "include"),
        (with("temperature", json!(3)), "temperature"),
        (with("max_output_tokens", json!(0)), "max_output_tokens"),
        (with("metadata", long), "metadata"),
        (with("metadata", json!({"a": 5})), "metadata.a"),
        (with("stop", json!("x")), "stop"),
        (with("n", json!(2)), "n"),
        (json!({"input": "x", "background": true, "stream": true}), "background"),
        (json!({"input": "x", "background": true, "store": false}), "background"),
    ] {
        let (status, refused, _) = refusal(&server, &request).await;
        let request = request.to_string();
        let request = request.get(..200).unwrap_or(&request);
        assert!(status == 400 && refused.starts_with(param), "{status} {refused}: {request}");
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 0);
    let response = created(&server, &json!({"input": "hi"})).await;
    for (method, path) in [("POST", "/cancel"), ("GET", "?stream=true"), ("GET", "?include[]=a")] {
        let (status, error) = stored(&server, method, &format!("{}{path}", id_of(&response)), KEY).await;
        assert_eq!(
            (status, &error["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{path} {error}"
        );
    }
}

#[tokio::test]
async fn what_has_no_effect_is_named() {
    let server = start().await;
    let request = json!({"input": "hi", "user": "u", "service_tier": "auto", "reasoning": {"summary": "auto"},
        "text": {"verbosity": "low"}, "include": ["reasoning.encrypted_content"], "prompt_cache_key": null});
    let response = respond(&server, &request).await;
    let ignored = "user, service_tier, reasoning.summary, text.verbosity, include";
    assert_eq!(response.headers()["x-simpleton-ignored"], ignored);
}

//! Requests that Anthropic's API refuses, and failures, in its envelope.

use serde_json::{Value, json};

use crate::{
    anthropic::{VERSION, asking, create, fixtures, hello, refusal, stream, weather},
    documented::assert_fits,
    harness::{KEY, start, start_with},
    ollama::{
        lines::chat_line,
        scripted::{Script, Step},
    },
};

/// Anthropic's SDK continues without a thread after this refusal.
#[tokio::test]
async fn a_thread_is_refused_so_that_clients_continue_without_it() {
    let server = start().await;
    for thread in [json!({"type": "create"}), Value::Null] {
        let request = json!({"model": "qwen2.5:7b", "max_tokens": 9, "messages": hello(), "thread": thread});
        let response = server.post("/v1/messages?beta=true", &request).send().await.unwrap();
        let status = response.status().as_u16();
        let reply: Value = crate::harness::json(response).await;
        if thread.is_null() {
            assert_eq!(status, 200, "{reply}");
            continue;
        }
        let details = json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
        assert_eq!((status, &reply["error"]["details"]), (400, &details), "{reply}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_by_its_name() {
    let server = start().await;
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let block = |block: Value| user(json!([block]));
    let source = |source: Value| block(json!({"type": "image", "source": source}));
    let tool = |schema: Value| json!({"tools": [{"name": "f", "input_schema": schema}]});
    let result = json!({"type": "tool_result", "tool_use_id": "none", "content": "5"});
    let cycle = json!({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}});
    let properties: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for (fields, message) in [
        (json!({"temprature": 1}), "temprature is unknown; the closest known field is temperature"),
        (json!({"max_tokens": 0}), "max_tokens must be a whole number from 1"),
        (json!({"max_tokens": null}), "max_tokens must be a whole number, not null"),
        (json!({"temperature": 1.5}), "temperature must be between 0 and 1"),
        (json!({"stop_sequences": [""]}), "stop_sequences/0 must not be empty"),
        (json!({"messages": []}), "messages must have at least one message"),
        (json!({"messages": vec![hello()[0].clone(); 100_001]}), "messages may have at most 100000 messages"),
        (
            json!({"messages": [{"role": "system", "content": "a"}], "system": "b"}),
            "messages/0/role must be user or assistant",
        ),
        (json!({"system": [{"type": "text", "text": ""}]}), "system/0/text must not be empty"),
        (json!({"system": 5}), "system must be a string or a list of blocks"),
        (user(json!("")), "messages/0/content must not be empty"),
        (user(json!([])), "messages/0/content must have at least one block"),
        (user(Value::Null), "messages/0/content must be a string or a list of blocks"),
        (block(json!({"type": "text", "text": ""})), "messages/0/content/0/text must not be empty"),
        (block(json!({"type": "text"})), "messages/0/content/0/text is required"),
        (block(json!({"type": "audio"})), "messages/0/content/0/type must be"),
        (block(json!({"type": "text", "text": "a", "id": "b"})), "messages/0/content/0/id is not allowed"),
        (block(json!({"type": "text", "text": "a", "txt": "b"})), "messages/0/content/0/txt is unknown"),
        (block(result), "messages/0/content/0/tool_use_id must be the id of a tool_use block"),
        (
            block(json!({"type": "tool_use", "id": "a", "name": "f", "input": {}})),
            "messages/0/content/0/type is a type",
        ),
        (
            source(json!({"type": "url", "url": "http://a/b.png"})),
            "messages/0/content/0/source/url must be the image itself as base64; URLs are not fetched",
        ),
        (source(json!({"type": "base64", "data": ""})), "messages/0/content/0/source/media_type is required"),
        (
            source(json!({"type": "base64", "media_type": "text/plain", "data": ""})),
            "messages/0/content/0/source/media_type must be",
        ),
        (json!({"tools": [{"name": "", "input_schema": {}}]}), "tools/0/name must have"),
        (json!({"tools": [{"name": "f"}]}), "tools/0/input_schema is required"),
        (json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), "tools/0/type must be custom"),
        (tool(json!([])), "tools/0/input_schema must be a JSON Schema object"),
        (tool(cycle), "tools/0/input_schema"),
        (tool(json!({"type": "object", "properties": properties})), "tools/0/input_schema"),
        (json!({"tools": [weather()[0], weather()[0]]}), "tools/1/name is the name of an earlier tool"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice needs at least one tool"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice/name is required"),
        (json!({"tool_choice": {"type": "auto", "name": "f"}}), "tool_choice/name is only allowed"),
        (
            json!({"tool_choice": {"type": "tool", "name": "g"}, "tools": weather()}),
            "tool_choice must name one of the tools",
        ),
        (json!({"tool_choice": "auto"}), "tool_choice must be an object"),
        (json!({"thinking": {"type": "enabled"}}), "thinking/budget_tokens is required"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 5}}),
            "thinking/budget_tokens must be at least 1024",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "thinking/budget_tokens must be less than max_tokens",
        ),
        (
            json!({"thinking": {"type": "disabled", "budget_tokens": 1024}}),
            "thinking/budget_tokens is only allowed",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": 5}}}),
            "output_config/format/schema must be",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "nonsense"}}}}),
            "output_config/format/schema/type must be",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {}}}, "tools": weather()}),
            "output_config/format cannot be combined with tools",
        ),
    ] {
        let shown: String = fields.to_string().chars().take(200).collect();
        let (status, r#type, told) = refusal(create(&server, &asking(fields)).await).await;
        assert_eq!((status, &*r#type), (400, "invalid_request_error"), "{shown}: {told}");
        assert!(told.starts_with(message), "{shown}: {told}");
    }
    let twice = r#"{"max_tokens": 5, "system": "a", "system": "b", "messages": []}"#;
    let (status, _, told) = refusal(server.post_text("/v1/messages", twice).send().await.unwrap()).await;
    assert_eq!((status, &*told), (400, "system is given twice."));
    assert!(server.ollama.requests("/api/chat").is_empty());
}

#[tokio::test]
async fn errors_have_anthropics_envelope_everywhere() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    let no_key = server.client.post(server.url("/v1/messages")).body("{}").send().await.unwrap();
    let (status, r#type, _) = refusal(no_key).await;
    assert_eq!((status, &*r#type), (401, "authentication_error"));
    for (method, path, status, kind) in [
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/models/nothing", 404, "not_found_error"),
        ("GET", "/v1/models?limit=0", 400, "invalid_request_error"),
        ("GET", "/v1/models?lifecycle=active", 400, "invalid_request_error"),
    ] {
        let request = server.client.request(method.parse().unwrap(), server.url(path));
        let response = request.bearer_auth(KEY).header(VERSION, "2023-06-01").send().await.unwrap();
        let (got, r#type, _) = refusal(response).await;
        assert_eq!((got, &*r#type), (status, kind), "{path}");
    }
    let large = asking(json!({"system": "a".repeat(2_000_000)}));
    let (status, r#type, _) = refusal(create(&server, &large).await).await;
    assert_eq!((status, &*r#type), (413, "request_too_large"));
    for (answered, status, kind) in
        [(404, 404, "not_found_error"), (503, 529, "overloaded_error"), (500, 502, "api_error")]
    {
        server.ollama.on("/api/chat", Script::error(answered, "no"));
        let (got, r#type, _) = refusal(create(&server, &asking(json!({}))).await).await;
        assert_eq!((got, &*r#type), (status, kind));
    }
}

#[tokio::test]
async fn a_failure_in_a_stream_is_an_error_event() {
    let server = start().await;
    let steps = vec![Step::Send(chat_line("a")), Step::Send("{\"error\":\"no memory\"}\n".to_owned())];
    server.ollama.on("/api/chat", Script::ok(steps));
    let told = stream(&server, json!({})).await;
    let (name, error) = told.last().unwrap();
    assert_fits(error, &fixtures()["error"]);
    assert_eq!((&**name, &error["error"]["type"]), ("error", &json!("api_error")));
    assert!(told.iter().all(|(name, _)| name != "message_stop"));
}

#[tokio::test]
async fn tokens_are_not_counted_over_ollama() {
    let server = start().await;
    let request = json!({"messages": hello()});
    let (status, r#type, told) =
        refusal(server.post("/v1/messages/count_tokens", &request).send().await.unwrap()).await;
    assert_eq!((status, &*r#type), (400, "invalid_request_error"));
    assert_eq!(told, "Ollama does not count the tokens of a prompt.");
    let (_, _, told) =
        refusal(server.post("/v1/messages/count_tokens", &asking(json!({}))).send().await.unwrap()).await;
    assert!(told.starts_with("max_tokens is unknown"), "{told}");
}

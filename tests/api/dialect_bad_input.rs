//! The same bad input through each API: a clear refusal that names the field, in the words of that API.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::harness::{TestServer, start};

/// Status and text of a reply.
async fn post(server: &TestServer, path: &str, request: String) -> (u16, String) {
    let response = server.post_text(path, request).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn assert_refused(server: &TestServer, path: &str, request: &Value, named: &str) {
    assert_text_refused(server, path, request.to_string(), named).await;
}

async fn assert_text_refused(server: &TestServer, path: &str, request: String, named: &str) {
    let shown: String = request.chars().take(200).collect();
    let (status, text) = post(server, path, request).await;
    let expected = if path.starts_with("/inference") || path.starts_with("/embeddings") { 422 } else { 400 };
    assert!(status == expected && text.contains(named), "{path} {shown}: {status} {text}");
    // A refusal is one sentence about the field, and not the request once more.
    assert!(text.len() < 2_000, "{path} {shown}: {} bytes", text.len());
}

fn with(mut request: Value, fields: &Value) -> Value {
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

fn hello() -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100})
}

/// A schema as the format of the answer, through each API; with the name of its field.
fn as_format(schema: &Value) -> [(&'static str, Value, &'static str); 5] {
    let json_schema = json!({"type": "json_schema", "name": "a", "schema": schema});
    [
        ("/inference/chat", with(hello(), &json!({ "format": schema })), "/format"),
        (
            "/v1/chat/completions",
            with(
                hello(),
                &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
            ),
            "response_format",
        ),
        ("/v1/responses", json!({"input": "hi", "text": {"format": json_schema}}), "text.format"),
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "hi"}], "format": schema, "stream": false}),
            "format",
        ),
        (
            "/v1/messages",
            with(hello(), &json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})),
            "output_config/format",
        ),
    ]
}

/// A schema as the parameters of a tool, through each API; with the name of its field.
fn as_parameters(schema: &Value) -> [(&'static str, Value, &'static str); 5] {
    let function = json!({"name": "f", "parameters": schema});
    let nested = json!({"tools": [{"type": "function", "function": function}]});
    [
        ("/inference/chat", with(hello(), &nested), "/tools/0/function/parameters"),
        ("/v1/chat/completions", with(hello(), &nested), "tools[0].function.parameters"),
        (
            "/v1/responses",
            json!({"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": schema}]}),
            "tools[0].parameters",
        ),
        (
            "/api/chat",
            with(json!({"messages": [{"role": "user", "content": "hi"}], "stream": false}), &nested),
            "tools/0/function/parameters",
        ),
        (
            "/v1/messages",
            with(hello(), &json!({"tools": [{"name": "f", "input_schema": schema}]})),
            "tools/0/input_schema",
        ),
    ]
}

#[tokio::test]
async fn hostile_schemas_are_refused_through_each_api() {
    let server = start().await;
    let object = |property: Value| json!({"type": "object", "properties": {"a": property}});
    let properties: Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for schema in [
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
        json!({"type": "object", "properties": properties}),
        object(json!({"type": "string", "pattern": "^(((a{1,1000}){1,1000}){1,1000}){1,1000}$"})),
        object(json!({"type": "string", "pattern": "^(a"})),
        object(json!({"type": "integer", "minimum": 5, "maximum": 1})),
        json!({"type": "nonsense"}),
        json!([]),
    ] {
        for (path, request, named) in as_format(&schema).into_iter().chain(as_parameters(&schema)) {
            assert_refused(&server, path, &request, named).await;
        }
    }
    assert!(server.ollama.requests("/api/chat").is_empty());
}

#[tokio::test]
async fn impossible_numbers_and_fields_are_refused_through_each_api() {
    let server = start().await;
    for (path, named) in [
        ("/inference/chat", ["n", "temperature", "max_tokens", "stream", "temprature"]),
        ("/v1/chat/completions", ["n", "temperature", "max_tokens", "stream", "temprature"]),
        ("/v1/messages", ["n", "temperature", "max_tokens", "stream", "temprature"]),
    ] {
        let values = [json!(1_000_000_000), json!(1e300), json!(-1), json!("yes"), json!(1)];
        for (field, value) in named.into_iter().zip(values) {
            assert_refused(&server, path, &with(hello(), &json!({ field: value })), field).await;
        }
    }
    for (field, value) in
        [("n", json!(1_000_000_000)), ("max_output_tokens", json!(-1)), ("stream", json!("yes"))]
    {
        assert_refused(
            &server,
            "/v1/responses",
            &with(json!({"input": "hi"}), &json!({ field: value })),
            field,
        )
        .await;
        assert_refused(&server, "/api/chat", &json!({"messages": [], field: value}), field).await;
    }
    let completion = json!({"prompt": "hi", "n": 1_000_000_000});
    assert_refused(&server, "/v1/completions", &completion, "n").await;
    assert_refused(&server, "/inference/generate", &completion, "n").await;
    assert_refused(&server, "/api/generate", &completion, "n").await;
    assert!(server.ollama.requests("/api/chat").is_empty());
}

#[tokio::test]
async fn messages_that_make_no_sense_are_refused_through_each_api() {
    let server = start().await;
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let native = |messages: Value| ("/inference/chat", with(hello(), &json!({ "messages": messages })));
    let openai = |messages: Value| ("/v1/chat/completions", with(hello(), &json!({ "messages": messages })));
    let responses = |input: Value| ("/v1/responses", json!({ "input": input }));
    let ollama = |messages: Value| ("/api/chat", json!({ "messages": messages }));
    let anthropic = |messages: Value| ("/v1/messages", with(hello(), &json!({ "messages": messages })));
    let unknown = || json!([{"type": "hologram"}]);
    let result = |fields: Value| json!([{"role": "user", "content": "?"}, with(json!({"role": "tool", "content": "5"}), &fields)]);
    for ((path, request), named) in [
        // Parts of unknown types
        (native(user(unknown())), "/messages/0/content/0/type"),
        (openai(user(unknown())), "messages[0].content[0].type"),
        (responses(user(unknown())), "input[0].content[0].type"),
        (ollama(user(unknown())), "messages/0/content"),
        (anthropic(user(unknown())), "messages/0/content/0/type"),
        // Empty content
        (native(user(json!([]))), "/messages/0/content"),
        (openai(user(json!([]))), "messages[0].content"),
        (responses(user(json!([]))), "input[0].content"),
        (ollama(user(json!([]))), "messages/0/content"),
        (anthropic(user(json!([]))), "messages/0/content"),
        // Results of tools without a call
        (openai(result(json!({"tool_call_id": "none"}))), "messages[1].tool_call_id"),
        (
            responses(json!([{"type": "function_call_output", "call_id": "none", "output": "5"}])),
            "input[0].call_id",
        ),
        (ollama(result(json!({}))), "messages/1/role"),
        (
            anthropic(user(json!([{"type": "tool_result", "tool_use_id": "none", "content": "5"}]))),
            "messages/0/content/0/tool_use_id",
        ),
    ] {
        assert_refused(&server, path, &request, named).await;
    }
    assert!(server.ollama.requests("/api/chat").is_empty());
    // Two system prompts are odd, but not wrong.
    let two = |role: &str| json!([{"role": role, "content": "a"}, {"role": role, "content": "b"}, {"role": "user", "content": "hi"}]);
    for (path, request) in [
        native(two("system")),
        openai(two("system")),
        openai(two("developer")),
        ("/v1/responses", json!({"input": two("system"), "instructions": "c"})),
        ollama(two("system")),
        (
            "/v1/messages",
            with(hello(), &json!({"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})),
        ),
    ] {
        let (status, text) = post(&server, path, request.to_string()).await;
        assert_eq!(status, 200, "{path}: {text}");
    }
    assert_refused(
        &server,
        "/v1/messages",
        &with(hello(), &json!({"messages": two("system")})),
        "messages/0/role",
    )
    .await;
}

/// A client that embeds an embedding.
#[tokio::test]
async fn a_million_floats_are_neither_a_text_nor_an_image() {
    let server = start().await;
    let numbers = "0.5,".repeat(999_999) + "0.5";
    for (path, field) in [
        ("/embeddings/", "input"),
        ("/v1/embeddings", "input"),
        ("/api/embed", "input"),
        ("/api/embeddings", "prompt"),
    ] {
        assert_text_refused(&server, path, format!("{{\"{field}\": [{numbers}]}}"), field).await;
    }
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
    let request = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}]}]});
    let place = "messages[0].content[0].image_url.url";
    assert_refused(&server, "/v1/chat/completions", &request, place).await;
    assert!(server.ollama.requests("/api/chat").is_empty());
}

/// The engine would continue the message in the format, and the whole would not have it.
#[tokio::test]
async fn a_continued_message_has_no_format_and_no_forced_call() {
    let server = start().await;
    let turns = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]);
    let function = json!({"name": "f", "parameters": {"type": "object"}});
    let forced =
        |tool: Value, choice: Value| json!({"tools": [tool], "tool_choice": choice, "max_tokens": 9});
    let named = with(function.clone(), &json!({"type": "function"}));
    let requests = as_format(&json!({"type": "object"})).into_iter().chain([
        (
            "/v1/chat/completions",
            forced(json!({"type": "function", "function": function}), json!("required")),
            "tool_choice",
        ),
        ("/v1/responses", json!({"tools": [named], "tool_choice": "required"}), "tool_choice"),
        (
            "/v1/messages",
            forced(json!({"name": "f", "input_schema": {"type": "object"}}), json!({"type": "any"})),
            "tool_choice",
        ),
    ]);
    for (path, request, field) in requests {
        let turned = if path == "/v1/responses" { "input" } else { "messages" };
        let request = with(request, &json!({ turned: turns }));
        assert_refused(&server, path, &request, field).await;
        assert_refused(&server, path, &request, "cannot be combined with an assistant message at the end")
            .await;
    }
    assert!(server.ollama.requests("/api/chat").is_empty());
}

//! Refusals of OpenAI's Responses API, and parameters without effect.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, start},
    responses::{created, id_of, refusal, respond, stored, tool},
};

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

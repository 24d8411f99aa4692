//! `/openapi.json` tells the truth: real replies, and real requests, fit what it says.

use serde_json::{Value, json};

use crate::{
    fake_ollama::{Script, Step},
    harness::{KEY, events, json as body, problem, start},
};

/// What `value` has that its schema does not allow, or lacks. Of JSON Schema as much as the document uses.
fn misfit(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let wrong = |what: String| Some(format!("{place}: {what}"));
    if let Some(name) = schema["$ref"].as_str() {
        let named = document.pointer(name.trim_start_matches('#')).unwrap();
        return misfit(document, named, value, place);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().find_map(|schema| misfit(document, schema, value, place));
    }
    if let Some(one) = schema["oneOf"].as_array() {
        let misfits: Option<Vec<_>> =
            one.iter().map(|schema| misfit(document, schema, value, place)).collect();
        return misfits.and_then(|misfits| wrong(misfits.join(" and ")));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let may_be = |name: &Value| name == kind || (name == "number" && kind == "integer");
    let fits = match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(may_be),
        name => may_be(name),
    };
    if !fits {
        return wrong(format!("{value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return wrong(format!("{value} is none of {allowed:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return wrong(format!("{name} is missing"));
        }
    }
    if schema["additionalProperties"] == false {
        let mut names = value.as_object().into_iter().flatten().map(|(name, _)| name);
        if let Some(name) = names.find(|name| schema["properties"].get(name.as_str()).is_none()) {
            return wrong(format!("{name} is not allowed"));
        }
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    let inner = items.map(|(at, item)| (&schema["items"], item, at.to_string()));
    let fields = value.as_object().into_iter().flatten();
    let named = fields.map(|(name, value)| {
        let known = schema["properties"].get(name);
        (known.unwrap_or(&schema["additionalProperties"]), value, name.clone())
    });
    inner
        .chain(named)
        .filter(|(schema, ..)| schema.is_object())
        .find_map(|(schema, value, name)| misfit(document, schema, value, &format!("{place}/{name}")))
}

fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    assert!(schema.is_object(), "{what} is not described");
    assert_eq!(misfit(document, schema, value, ""), None, "{what}: {value}");
}

fn reply_schema<'a>(document: &'a Value, method: &str, path: &str, status: &str, media: &str) -> &'a Value {
    &document["paths"][path][method]["responses"][status]["content"][media]["schema"]
}

#[tokio::test]
async fn replies_and_requests_fit_the_document() {
    let server = start().await;
    let vectors = json!({"embeddings": [[0.5, -1.25]], "total_duration": 42});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(vectors.to_string())]));
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let call = json!({"function": {"name": "f", "arguments": "{}"}});
    let hello = json!({"role": "user", "content": "hi"});
    let parts = json!({"role": "developer", "content": [{"type": "text", "text": "hi"}]});
    let asked = [
        ("/inference/generate", json!({"prompt": "hi", "stop": "x", "format": "json", "keep_alive": -1})),
        ("/inference/generate", json!({"prompt": "hi", "stop": ["x"], "format": {}, "keep_alive": "5m"})),
        ("/inference/generate", json!({"prompt": ""})),
        ("/inference/chat", json!({"messages": [parts]})),
        ("/inference/chat", json!({"messages": [hello], "tools": [tool], "temperature": 1})),
        ("/inference/chat", json!({"messages": [hello, {"role": "assistant", "tool_calls": [call]}]})),
        ("/embeddings/", json!({"input": "hi"})),
        ("/embeddings/", json!({"input": ["ho"]})),
        ("/embeddings/batch", json!(["hi"])),
    ];
    for (path, request) in &asked {
        let described =
            &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_fits(&document, described, request, path);
        let response = server.post(path, request).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path} {request}");
        let schema = reply_schema(&document, "post", path, "200", "application/json");
        assert_fits(&document, schema, &body(response).await, path);
    }
    for (path, request) in [
        ("/inference/generate", json!({"prompt": "hi", "stream": true})),
        ("/inference/chat", json!({"messages": [hello], "stream": true})),
    ] {
        let text = server.post(path, &request).send().await.unwrap().text().await.unwrap();
        let told = events(&text);
        assert!(told.len() > 1, "{text}");
        for (_, event) in &told {
            let schema = reply_schema(&document, "post", path, "200", "text/event-stream");
            assert_fits(&document, schema, event, path);
        }
    }
    for path in [
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/models",
        "/analytics/stats",
        "/analytics/errors",
        "/analytics/alerts",
        "/analytics/usage",
        "/analytics/series",
        "/analytics/health",
        "/analytics/cache",
    ] {
        let response = server.get(path).header("x-api-key", KEY).send().await.unwrap();
        let schema = reply_schema(&document, "get", path, "200", "application/json");
        assert_fits(&document, schema, &body(response).await, path);
    }
    let (status, refusal) = problem(server.post("/inference/chat", &json!({"messages": []}))).await;
    assert_eq!(status, 422);
    let schema = reply_schema(&document, "post", "/inference/chat", "default", "application/problem+json");
    assert_fits(&document, schema, &refusal, "a refusal");
}

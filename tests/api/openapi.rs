//! `/openapi.json` tells the truth: real replies, and real requests, fit what it says.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, events, json as body, problem, start},
    ollama::scripted::{Script, Step},
};

fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    assert!(schema.is_object(), "{what} is not described");
    // What it refers to stands in the document.
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{what}: {value}");
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

/// Requests that "Try it out" in `/docs` sends unchanged.
#[tokio::test]
async fn the_examples_of_the_document_are_answered() {
    let server = start().await;
    let vectors = json!({"embeddings": [[0.5], [0.5]], "total_duration": 42});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(vectors.to_string())]));
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let mut executed = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let request = match (method.as_str(), &operation["requestBody"]["content"]["application/json"]) {
                ("post", Value::Null) => continue,
                ("post", content) => server.post(path, &content["example"]),
                ("get", _) => server.get(path).header("x-api-key", KEY),
                ("delete", _) => server.client.delete(server.url(path)).header("x-api-key", KEY),
                other => panic!("{other:?}"),
            };
            assert_eq!(request.send().await.unwrap().status(), 200, "{method} {path}");
            executed += 1;
        }
    }
    assert!(executed > 20, "{executed}");
}

#[tokio::test]
async fn each_operation_has_an_id_of_its_own_and_all_references_lead_somewhere() {
    let server = start().await;
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let paths = document["paths"].as_object().unwrap().values();
    let mut ids: Vec<&str> = paths
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    for reference in document.to_string().split(r##""$ref":"#"##).skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

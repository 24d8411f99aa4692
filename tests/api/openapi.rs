//! `/openapi.json` tells the truth: real replies, and real requests, fit what it says.

use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, events, json as body, start},
    ollama::{
        lines,
        scripted::{Script, Step},
    },
};

fn validator(document: &Value, schema: &Value, what: &str) -> Validator {
    assert!(schema.is_object(), "{what} is not described");
    // What it refers to stands in the document.
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    jsonschema::validator_for(&whole).unwrap()
}

fn assert_fits(document: &Value, schema: &Value, value: &Value, what: &str) {
    assert_valid(&validator(document, schema, what), value, what);
}

fn assert_valid(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{what}: {value}");
}

fn reply_schema<'a>(document: &'a Value, method: &str, path: &str, status: &str, media: &str) -> &'a Value {
    let mut response = &document["paths"][path][method]["responses"][status];
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    &response["content"][media]["schema"]
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
    let said = json!({"role": "user", "content": [{"type": "input_text", "text": "hi"}]});
    let called = json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "1", "output": "5"});
    let asked = [
        ("/inference/generate", json!({"prompt": "hi", "stop": "x", "format": "json", "keep_alive": -1})),
        ("/inference/generate", json!({"prompt": "hi", "stop": ["x"], "format": {}, "keep_alive": "5m"})),
        ("/inference/generate", json!({"prompt": ""})),
        ("/inference/chat", json!({"messages": [parts]})),
        ("/inference/chat", json!({"messages": [hello], "tools": [tool], "temperature": 1})),
        ("/inference/chat", json!({"messages": [hello, {"role": "assistant", "tool_calls": [call]}]})),
        ("/rag/ingest", json!({"content": "hi"})),
        ("/inference/chat", json!({"messages": [hello], "documents": {"top_k": 1, "mode": "hybrid"}})),
        ("/embeddings/", json!({"input": "hi"})),
        ("/embeddings/", json!({"input": ["ho"]})),
        ("/embeddings/batch", json!(["hi"])),
        ("/v1/responses", json!({"input": "hi"})),
        (
            "/v1/responses",
            json!({"input": [said, called, result], "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "reasoning": {}}),
        ),
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
        ("/inference/chat", json!({"messages": [hello], "documents": {}, "stream": true})),
        ("/v1/responses", json!({"input": "hi", "stream": true})),
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
        "/models/suggested",
        "/settings",
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
}

/// Refuses each operation's requests in every way that does not depend on the operation.
#[tokio::test]
async fn each_operation_has_its_errors_in_the_document() {
    let server = start().await;
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let (mut statuses, mut validators) = (BTreeSet::new(), HashMap::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (name, operation) in item.as_object().unwrap() {
            assert!(operation["responses"].get("default").is_none(), "{name} {path}");
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let url = server.url(&with_examples(path, operation));
            let keyless = |query: &str| server.client.request(method.clone(), format!("{url}{query}"));
            let request = || keyless("").header("x-api-key", KEY);
            let mut refused = vec![
                keyless("?no_such_parameter=1").header("x-api-key", KEY),
                request().header("authorization", "Bearer another-key-0123456789"),
            ];
            if operation.get("security").is_some() {
                refused.push(keyless(""));
            }
            if operation.get("requestBody").is_some() {
                refused.push(request().header("content-type", "application/json").body("{"));
                refused.push(request().header("content-encoding", "gzip").body("{}"));
                refused.push(request().header("content-type", "image/png").body("{}"));
            }
            for version in [None, Some("2023-06-01")] {
                for request in &refused {
                    let mut request = request.try_clone().unwrap();
                    if let Some(version) = version {
                        request = request.header("anthropic-version", version);
                    }
                    let response = request.send().await.unwrap();
                    let status = response.status();
                    if status.is_success() || method == Method::HEAD {
                        continue;
                    }
                    let what = format!("{name} {path} {status}");
                    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
                    let schema = reply_schema(&document, name, path, status.as_str(), &media);
                    // Making one takes longer than the request.
                    let validator = validators.entry(schema.to_string());
                    let validator = validator.or_insert_with(|| self::validator(&document, schema, &what));
                    assert_valid(validator, &body(response).await, &what);
                    statuses.insert(status.as_u16());
                }
            }
        }
    }
    assert!([400, 401, 415, 422].into_iter().all(|status| statuses.contains(&status)), "{statuses:?}");
}

/// Statuses follow from what an operation does.
#[tokio::test]
async fn errors_that_an_operation_cannot_have_are_not_in_the_document() {
    let server = start().await;
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    for (method, path, statuses) in [
        ("get", "/health/live", "200 400 422 500 503"),
        ("get", "/analytics/stats", "200 400 401 422 500 503"),
        ("get", "/models", "200 400 401 422 500 502 503 504"),
        ("get", "/rag/documents/{id}", "200 400 401 404 422 500 503"),
        ("post", "/inference/chat", "200 400 401 404 408 413 415 422 429 500 502 503 504"),
        ("post", "/models/pull", "200 400 401 403 404 408 413 415 422 429 500 502 503 504"),
        ("post", "/v1/chat/completions", "200 400 401 404 408 413 415 429 500 502 503 504"),
        ("post", "/api/chat", "200 400 401 404 408 413 415 429 500 502 503 504"),
        ("post", "/v1/messages", "200 400 401 404 408 413 415 429 500 502 503 504 529"),
        ("get", "/v1/models", "200 400 401 500 502 503 504 529"),
    ] {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        assert_eq!(responses.keys().map(String::as_str).collect::<Vec<_>>().join(" "), statuses, "{path}");
    }
}

/// Puts the examples of a path's parameters into it.
fn with_examples(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter(|parameter| parameter["in"] == "path").fold(path.to_owned(), |path, parameter| {
        let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
        path.replace(&place, parameter["example"].as_str().unwrap())
    })
}

/// Requests that "Try it out" in `/docs` sends unchanged.
#[tokio::test]
async fn the_examples_of_the_document_are_answered() {
    let server = start().await;
    let models = [("qwen2.5:7b", "aa"), ("llava:latest", "bb"), ("simpleton-demo:latest", "cc")];
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(lines::tags(&models).to_string())]));
    let created = json!({"status": "success"}).to_string();
    server.ollama.on("/api/create", Script::ok(vec![Step::Send(created + "\n")]));
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let ingest = &document["paths"]["/rag/ingest"]["post"]["requestBody"]["content"]["application/json"];
    let mut executed = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {template}");
            // Others may just have deleted it.
            server.post("/rag/ingest", &ingest["example"]).send().await.unwrap();
            let mut path = with_examples(template, operation);
            if template.starts_with("/v1/responses/") {
                let request = json!({"input": "hi", "background": true});
                let response = body(server.post("/v1/responses", &request).send().await.unwrap()).await;
                path = template.replace("{id}", response["id"].as_str().unwrap());
            }
            let path = &path;
            let content = &operation["requestBody"]["content"];
            let request = match (method.as_str(), &content["application/json"]) {
                ("post", Value::Null) if content.is_null() => {
                    server.client.post(server.url(path)).header("x-api-key", KEY)
                }
                ("post", Value::Null) => continue,
                // A token works once, and an API key is no session.
                _ if template == "/dashboard/session" => continue,
                // With Ollama as the backend, files are refused.
                ("head", _) => continue,
                // Ollama does not count tokens.
                ("post", _) if template.ends_with("/count_tokens") => continue,
                ("post", content) => server.post(path, &content["example"]),
                ("get", _) => server.get(path).header("x-api-key", KEY),
                ("delete", content) if content["example"].is_object() => {
                    let request = server.client.delete(server.url(path)).header("x-api-key", KEY);
                    request.body(content["example"].to_string())
                }
                ("delete", _) => server.client.delete(server.url(path)).header("x-api-key", KEY),
                other => panic!("{other:?}"),
            };
            let response = request.send().await.unwrap();
            let status = response.status();
            if status != 200 {
                panic!("{what} {path}: {status} {}", response.text().await.unwrap());
            }
            let media = response.headers().get("content-type").map_or("", |media| media.to_str().unwrap());
            if media == "application/json" {
                let schema = reply_schema(&document, method, template, "200", media);
                assert_fits(&document, schema, &body(response).await, &what);
            }
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

#[tokio::test]
async fn texts_of_a_closed_set_are_enums() {
    let server = start().await;
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let health = json!(["healthy", "degraded", "unhealthy"]);
    let severities = ["warning", "critical"];
    let entry_types = json!(["embedding", "inference", "chat", "vision"]);
    let backends = json!(["embedded", "ollama"]);
    let stores = json!(["embedded", "redis", "off"]);
    let alerts = json!([
        "high_error_rate",
        "high_response_time",
        "backend_down",
        "engine_crash_loop",
        "cache_unavailable",
        "disk_nearly_full"
    ]);
    let parameter =
        |path: &str, at: usize| document["paths"][path]["get"]["parameters"][at]["schema"]["enum"].clone();
    for (pointer, expected) in [
        ("HealthReply/properties/status", health.clone()),
        ("HealthReply/properties/ollama_status", json!(["connected", "disconnected", "not configured"])),
        ("PartReply/properties/status", health.clone()),
        ("BackendReply/allOf/0/properties/status", health),
        ("BackendReply/allOf/1/properties/name", backends.clone()),
        ("LiveReply/properties/status", json!(["alive"])),
        (
            "ModelReply/properties/capabilities/items",
            json!(["completion", "embedding", "vision", "tools", "thinking"]),
        ),
        ("ModelReply/properties/source", backends),
        ("AlertsReply/properties/status", json!(["success", "warning", "critical"])),
        ("AlertReply/properties/type", alerts),
        ("AlertReply/properties/severity", json!(severities)),
        ("AnalyticsHealthReply/properties/status", json!(["healthy", "degraded"])),
        ("MonitoringBody/properties/status", json!(["enabled", "disabled"])),
        ("StorageBody/properties/status", json!(["available", "degraded"])),
        ("CacheComponent/properties/backend", stores.clone()),
        ("CacheBody/properties/backend", stores),
        ("CacheBody/properties/by_type/propertyNames", entry_types.clone()),
        ("LookupStatsBody/properties/by_type/propertyNames", entry_types),
        ("CacheReply/properties/status", json!(["success"])),
        ("ClearReply/properties/status", json!(["success"])),
        ("ErrorsReply/properties/status", json!(["success"])),
        ("SeriesReply/properties/status", json!(["success"])),
        ("StatsReply/properties/status", json!(["success"])),
        ("UsageReply/properties/status", json!(["success"])),
        ("SeriesReply/properties/metric", parameter("/analytics/series", 0)),
        ("UsageReply/properties/by", parameter("/analytics/usage", 1)),
        ("MessageReply/properties/role", json!(["assistant"])),
        (
            "GenerateReply/allOf/1/properties/done_reason",
            json!(["stop", "length", "tool_calls", "load", "unload"]),
        ),
        (
            "ChatReply/allOf/1/properties/done_reason",
            json!(["stop", "length", "tool_calls", "load", "unload"]),
        ),
        ("Problem/properties/type", json!(["about:blank"])),
    ] {
        let mut schema = document.pointer(&format!("/components/schemas/{pointer}")).expect(pointer);
        if let Some(reference) = schema["$ref"].as_str() {
            schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        }
        assert!(expected.is_array() && schema["enum"] == expected, "{pointer}: {schema}");
    }
}

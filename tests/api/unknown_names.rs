//! Names that nobody knows are refused, and the nearest known one is told: on every route, at every level.

use serde_json::{Value, json};
use simpleton::http::route_labels;

use crate::{
    harness::{KEY, TestServer, pointers_of, problem, start},
    vision::{png, upload, with_file},
};

/// A query there is the browser's business.
const PAGES: [&str; 5] = ["/docs", "/docs/{file}", "/openapi.json", "/dashboard", "/dashboard/{*path}"];

#[tokio::test]
async fn a_query_is_checked_on_every_route() {
    let server = start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for template in
        route_labels().into_iter().map(|label| label.template).filter(|template| !PAGES.contains(template))
    {
        let slashed = if template.ends_with('/') { template.to_owned() } else { format!("{template}/") };
        let mut refused = 0;
        for (method, path) in ["GET", "HEAD", "POST", "DELETE"]
            .into_iter()
            .flat_map(|method| [(method, template), (method, &slashed)])
        {
            let url = server.url(&format!("{path}?no_such_name=1"));
            let request = client.request(method.parse().unwrap(), url).header("x-api-key", KEY);
            let status = request.send().await.unwrap().status();
            let is_anothers = ["/v1/", "/api/"].iter().any(|prefix| template.starts_with(prefix));
            let refusal = if is_anothers { 400 } else { 422 };
            assert!(status == refusal || status == 405, "{method} {path}: {status}");
            refused += usize::from(status == refusal);
        }
        assert!(refused > 0, "{template}");
    }
    for page in PAGES.map(|page| page.replace("{file}", "index.html").replace("{*path}", "models")) {
        let shown = server.get(&format!("{page}?no_such_name=1")).send().await.unwrap();
        assert_eq!(shown.status(), 200, "{page}");
    }
    let nowhere = server.get("/no/such/path?no_such_name=1");
    assert_eq!(problem(nowhere).await.0, 404);
    let without_key = server.get("/models?no_such_name=1");
    assert_eq!(problem(without_key).await.0, 401, "an unauthenticated caller is told nothing");
}

#[tokio::test]
async fn unknown_parameters_are_told_with_the_nearest_known_one() {
    let server = start().await;
    for (method, path, detail) in [
        ("GET", "/analytics/errors?Limit=3", "Limit is unknown; the closest known parameter is limit."),
        (
            "GET",
            "/analytics/errors?limt=3&unauthenticatde=1",
            "limt is unknown; the closest known parameter is limit; unauthenticatde is unknown; the closest known parameter is unauthenticated.",
        ),
        ("DELETE", "/analytics/cache?type=chat", "type is unknown; the closest known parameter is prefix."),
        ("GET", "/analytics/cache?prefix=chat", "prefix is unknown; no parameters are allowed here."),
        ("POST", "/embeddings/batch?modle=m", "modle is unknown; the closest known parameter is model."),
        ("GET", "/health?x=1", "x is unknown; no parameters are allowed here."),
        ("GET", "/?=1", "\"\" is unknown; no parameters are allowed here."),
    ] {
        let request = server.client.request(method.parse().unwrap(), server.url(path));
        let (status, told) = problem(request.header("x-api-key", KEY).body("[\"a\"]")).await;
        assert_eq!((status, &told["detail"]), (422, &json!(detail)), "{path}");
    }
    let many: String = (0..20).map(|n| format!("&name{n}=1")).collect();
    let (_, told) = problem(server.get(&format!("/health?{many}"))).await;
    assert_eq!(pointers_of(&told).len(), 10);
    assert_eq!(server.get("/health?").send().await.unwrap().status(), 200);
}

async fn told(server: &TestServer, path: &str, body: &Value) -> (String, String) {
    let (status, told) = problem(server.post(path, body)).await;
    assert_eq!(status, 422, "{path} {body}: {told}");
    let error = &told["errors"][0];
    (error["pointer"].as_str().unwrap().to_owned(), error["detail"].as_str().unwrap().to_owned())
}

async fn twice(server: &TestServer, body: String, place: &str) {
    let request = server.client.post(server.url("/inference/chat")).header("x-api-key", KEY);
    let (status, told) = problem(request.body(body.clone())).await;
    let error = json!({"pointer": place, "detail": "is given twice"});
    assert_eq!((status, &told["errors"][0]), (422, &error), "{body}");
}

#[tokio::test]
async fn unknown_fields_are_told_with_the_nearest_known_one() {
    let server = start().await;
    let hello = json!([{"role": "user", "content": "hi"}]);
    for (name, nearest) in [
        ("max_token", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("max_completion_tokens", "max_tokens"),
        ("num_predict", "max_tokens"),
        ("temprature", "temperature"),
        ("response_format", "format"),
        ("tool_choice", "tools"),
        ("stop_sequences", "stop"),
        ("keepAlive", "keep_alive"),
    ] {
        let (pointer, detail) =
            told(&server, "/inference/chat", &json!({"messages": hello, name: null})).await;
        assert_eq!(pointer, format!("/{name}"));
        assert_eq!(detail, format!("is unknown; the closest known field is {nearest}"));
    }
    let call = json!({"function": {"name": "f", "argumets": {}}});
    for (path, body, pointer) in [
        ("/inference/generate", json!({"prompt": "a", "options": {"seed": 1}}), "/options"),
        ("/inference/generate", json!({"prompt": "a", "messages": []}), "/messages"),
        ("/inference/chat", json!({"messages": [{"role": "user", "contnt": "a"}]}), "/messages/0/contnt"),
        ("/inference/chat", json!({"messages": hello, "tools": [{"functon": {}}]}), "/tools/0/functon"),
        (
            "/inference/chat",
            json!({"messages": hello, "tools": [{"function": {"nam": 1}}]}),
            "/tools/0/function/nam",
        ),
        (
            "/inference/chat",
            json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}),
            "/messages/0/tool_calls/0/function/argumets",
        ),
        ("/embeddings/", json!({"input": "a", "dimensions": 3}), "/dimensions"),
        ("/vision/analyze", json!({"image": "", "prompt": "a", "top_p": 1}), "/top_p"),
        ("/vision/caption", json!({"image": "", "detail": "brief"}), "/detail"),
        ("/vision/ocr", json!({"image": "", "prompt": "a"}), "/prompt"),
    ] {
        let (got, detail) = told(&server, path, &body).await;
        assert_eq!(got, pointer, "{detail}");
        assert!(detail.starts_with("is unknown; the "), "{detail}");
    }
    for (body, place) in [
        (r#""format": {"type": "object", "type": "string"}"#, "/format/type"),
        (
            r#""format": {"properties": {"a": {}, "b": {"enum": [1, {"x": 1, "x": 2}]}}}"#,
            "/format/properties/b/enum/1/x",
        ),
        (
            r#""tools": [{"function": {"name": "f", "parameters": {"properties": {"a": {}, "a": {}}}}}]"#,
            "/tools/0/function/parameters/properties/a",
        ),
    ] {
        let hello = r#"{"messages": [{"role": "user", "content": "hi"}]"#;
        twice(&server, format!("{hello}, {body}}}"), place).await;
    }
    for arguments in [r#"{"a": 1, "a": 2}"#, r#""{\"a\": 1, \"a\": 2}""#] {
        let call = format!(r#"{{"function": {{"name": "f", "arguments": {arguments}}}}}"#);
        let body = format!(r#"{{"messages": [{{"role": "assistant", "tool_calls": [{call}]}}]}}"#);
        twice(&server, body, "/messages/0/tool_calls/0/function/arguments/a").await;
    }
    // In a schema and in arguments every name is the caller's own.
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x-own": 1}}});
    let free = json!({"messages": hello, "tools": [tool]});
    assert_eq!(server.post("/inference/chat", &free).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn unknown_fields_of_a_form_are_told_too() {
    let server = start().await;
    let form = with_file(png()).text("promt", "What?").text("temperatur", "1");
    let (status, told) = problem(upload(&server, form)).await;
    assert_eq!((status, pointers_of(&told)), (422, vec!["/promt", "/temperatur"]), "{told}");
    assert!(server.ollama.requests("/api/chat").is_empty());
}

/// Nothing that a caller made up stands in the record of failures.
#[tokio::test]
async fn what_failed_is_told_with_its_reason_and_without_the_callers_words() {
    let server = start().await;
    for (path, body) in [
        ("/inference/generate", json!({"prompt": "a", "keep_alive": "secret"})),
        ("/inference/generate", json!({"prompt": "a", "secret_name": 1})),
        ("/inference/generate", json!(["secret"])),
        ("/inference/generate", json!({"prompt": "a", "model": "secret name"})),
        ("/inference/generate", json!({"prompt": "a", "temperature": "secret"})),
    ] {
        problem(server.post(path, &body)).await;
    }
    problem(server.get("/health?secret=1")).await;
    let told = server.get("/analytics/errors").header("x-api-key", KEY).send().await.unwrap();
    let told: Value = crate::harness::json(told).await;
    let errors: Vec<&str> =
        told["errors"].as_array().unwrap().iter().map(|error| error["error"].as_str().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "Refused: a field is unknown; no parameters are allowed here.",
            "Refused: /temperature must be a number, not a string.",
            "Refused: /model must be a model name like qwen2.5:7b, namespace/name or hf.co/owner/repository:Q4_K_M.",
            "Refused: The body must be an object, not a list.",
            "Refused: a field is unknown; the known fields are prompt, system, context, raw, images, model, stream, temperature, max_tokens, top_p, top_k, seed, stop, format, think, keep_alive.",
            "Refused: /keep_alive must be seconds (300), a duration (90s, 5m, 1h), or -1 for no limit.",
        ]
    );
}

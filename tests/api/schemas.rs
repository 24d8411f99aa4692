//! JSON Schemas of callers: what is refused, what the backend gets, and answers that do not fit.

use serde_json::{Value, json};

use crate::{
    harness::{TestServer, events, json as body, pointers_of, problem, start},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

fn asking(schema: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "format": schema})
}

fn with_tool(parameters: &Value) -> Value {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    json!({"messages": [{"role": "user", "content": "hi"}], "tools": [tool]})
}

fn answer(server: &TestServer, text: &str) {
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line(text) + &last_line(3))]));
}

#[tokio::test]
async fn a_schema_that_would_hold_the_engine_up_is_refused_with_its_place() {
    let server = start().await;
    let nested = |inner: Value| json!({"type": "object", "properties": {"a": inner}});
    let too_long = json!({"type": "string", "minLength": 5, "maxLength": 1});
    for (request, pointer) in [
        (asking(&too_long), "/format/minLength"),
        (asking(&nested(json!({"type": "string", "pattern": "^a{5,1}$"}))), "/format/properties/a/pattern"),
        (
            asking(&nested(json!({"type": "integer", "minimum": 5, "maximum": 1}))),
            "/format/properties/a/minimum",
        ),
        (asking(&json!({"type": "string", "pattern": "^(?=a"})), "/format/pattern"),
        (asking(&json!({"type": "nonsense"})), "/format/type"),
        (with_tool(&nested(too_long.clone())), "/tools/0/function/parameters/properties/a/minLength"),
    ] {
        let (status, problem) = problem(server.post("/inference/chat", &request)).await;
        assert_eq!((status, pointers_of(&problem)), (422, vec![pointer]), "{request}");
    }
    let (status, refusal) =
        problem(server.post("/inference/generate", &json!({"prompt": "hi", "format": too_long}))).await;
    assert_eq!((status, pointers_of(&refusal)), (422, vec!["/format/minLength"]));
    assert!(
        server.ollama.requests("/api/chat").is_empty() && server.ollama.requests("/api/generate").is_empty()
    );
}

#[tokio::test]
async fn the_backend_gets_what_it_enforces_and_the_answer_is_checked() {
    let server = start().await;
    let date = json!({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"});
    answer(&server, r#""2021-04-15T12:00:00Z""#);
    for _ in 0..2 {
        let (status, problem) = problem(server.post("/inference/chat", &asking(&date))).await;
        assert_eq!(status, 502);
        let told = "The model's answer does not match the schema in format: pattern is not satisfied. Try again, or use a simpler schema.";
        assert_eq!(problem["detail"], told);
    }
    let sent = server.ollama.requests("/api/chat");
    assert_eq!(sent.len(), 2, "a misfit is not kept");
    assert_eq!(sent[0]["format"], json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}));

    answer(&server, r#""2021-04-15""#);
    for _ in 0..2 {
        let response = server.post("/inference/chat", &asking(&date)).send().await.unwrap();
        assert_eq!(body(response).await["message"]["content"], r#""2021-04-15""#);
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 3, "what fits is");
}

#[tokio::test]
async fn a_stream_that_does_not_fit_ends_with_an_error() {
    let server = start().await;
    answer(&server, "1000000000000000");
    let mut request = asking(&json!({"type": "number", "minimum": 100, "maximum": 120}));
    request["stream"] = json!(true);
    let text = server.post("/inference/chat", &request).send().await.unwrap().text().await.unwrap();
    let events = events(&text);
    let (last, said) = events.split_last().unwrap();
    assert_eq!(said[0].1["message"]["content"], "1000000000000000");
    assert_eq!((last.0.as_str(), &last.1["status"]), ("error", &json!(502)));
    assert!(said.iter().all(|(_, event)| event["done"] == false), "{text}");
}

#[tokio::test]
async fn a_call_of_a_tool_that_does_not_fit_is_an_error() {
    let server = start().await;
    let called = json!({"model": "m", "message": {"role": "assistant", "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"n": 1}}}]}, "done": false});
    let script = Script::ok(vec![Step::Send(format!("{called}\n")), Step::Send(last_line(9))]);
    server.ollama.on("/api/chat", script);
    let takes = |kind: &str| with_tool(&json!({"type": "object", "properties": {"n": {"type": kind}}}));
    let response = server.post("/inference/chat", &takes("integer")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let (status, problem) = problem(server.post("/inference/chat", &takes("string"))).await;
    assert_eq!(status, 502);
    let told =
        "The model called a tool with arguments that do not match its parameters: type is not satisfied.";
    assert_eq!(problem["detail"], told);
}

#[tokio::test]
async fn what_an_engine_says_of_a_schema_is_not_passed_on() {
    let server = start().await;
    for (status, words) in
        [(400, "Unable to generate parser for this template"), (500, "failed to parse grammar")]
    {
        server.ollama.on("/api/chat", Script::error(status, words));
        let (status, problem) =
            problem(server.post("/inference/chat", &asking(&json!({"type": "string"})))).await;
        assert_eq!(status, 422);
        let told = "Ollama cannot enforce this schema; simplify format or the parameters of the tools.";
        assert_eq!(problem["detail"], told);
    }
}

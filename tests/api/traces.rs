//! Traces as a collector of OpenTelemetry and a backend see them.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    harness::{UNCACHED, eventually, start_uncached, start_with},
    ollama::scripted::{FakeOllama, Script, Step},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "a-secret-prompt"}], "model": "qwen2.5:7b", "stream": stream})
}

async fn collector() -> FakeOllama {
    let collector = FakeOllama::start().await;
    collector.on("/v1/traces", Script::ok(vec![Step::Send("{}".to_owned())]));
    collector
}

/// All spans that the collector has got.
fn spans(collector: &FakeOllama) -> Vec<Value> {
    let exports = collector.requests("/v1/traces");
    let spans = exports
        .iter()
        .flat_map(|export| export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
    spans.collect()
}

fn attributes(span: &Value) -> HashMap<String, Value> {
    let pair = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap().values().next().unwrap().clone();
        (attribute["key"].as_str().unwrap().to_owned(), value)
    };
    span["attributes"].as_array().unwrap().iter().map(pair).collect()
}

#[tokio::test]
async fn a_callers_trace_goes_through_to_the_backend_and_the_collector() {
    let collector = collector().await;
    let server = start_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()), UNCACHED]).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    for stream in [false, true] {
        let request = server.post("/inference/chat", &hello(stream)).header("traceparent", &parent);
        request.send().await.unwrap().text().await.unwrap();
    }
    eventually("all spans are there", async || spans(&collector).len() == 4).await;
    let spans = spans(&collector);
    let of_kind = |kind: u64| spans.iter().filter(move |span| span["kind"] == kind);
    for request in of_kind(2) {
        assert_eq!((&request["traceId"], &request["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
        assert_eq!(request["name"], "POST /inference/chat");
        assert_eq!(request["status"]["code"], 0);
        let attributes = attributes(request);
        assert_eq!(attributes["http.response.status_code"], "200");
        assert_eq!(attributes["http.route"], "/inference/chat");
        assert_eq!(attributes["gen_ai.request.model"], "qwen2.5:7b");
        let call = of_kind(3).find(|call| call["parentSpanId"] == request["spanId"]).unwrap();
        assert_eq!((&call["traceId"], &call["name"]), (&json!(TRACE), &json!("chat qwen2.5:7b")));
        let time = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time(call, "startTimeUnixNano") <= time(call, "endTimeUnixNano"));
        assert!(time(request, "startTimeUnixNano") <= time(call, "startTimeUnixNano"));
    }
    for call in of_kind(3) {
        let attributes = attributes(call);
        assert_eq!(attributes["gen_ai.operation.name"], "chat");
        assert_eq!(attributes["gen_ai.provider.name"], "ollama");
        assert_eq!(attributes["gen_ai.usage.input_tokens"], "7");
        assert_eq!(attributes["gen_ai.usage.output_tokens"], "3");
    }
    // The backend is told of the call's own span.
    let sent = server.ollama.header("/api/chat", "traceparent").unwrap();
    assert!(
        of_kind(3).any(|call| sent == format!("00-{TRACE}-{}-01", call["spanId"].as_str().unwrap())),
        "{sent}"
    );
    let everything = format!("{:?}", collector.requests("/v1/traces"));
    assert!(!everything.contains("a-secret-prompt") && !everything.contains(crate::harness::KEY));
    eventually("they are counted", async || {
        server.metric("simpleton_trace_spans_total{outcome=\"exported\"}").await == 4.0
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_an_error_of_the_span_and_a_refusal_is_not() {
    let collector = collector().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=hush,x-other=1".to_owned()),
    ];
    let server = start_with(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    server.ollama.on("/api/chat", Script::error(500, "no"));
    server.post("/inference/chat", &hello(false)).send().await.unwrap();
    server.post("/inference/chat", &json!({"messages": []})).send().await.unwrap();
    eventually("all spans are there", async || spans(&collector).len() == 3).await;
    let spans = spans(&collector);
    let status = |code: &str| {
        let span = spans.iter().find(|span| {
            attributes(span).get("http.response.status_code").is_some_and(|status| status == code)
        });
        span.map(|span| (span["status"]["code"].clone(), attributes(span)["error.type"].clone())).unwrap()
    };
    assert_eq!(status("502"), (json!(2), json!("bad_gateway")));
    assert_eq!(status("422"), (json!(0), json!("invalid")));
    assert_eq!(collector.header("/v1/traces", "x-collector-key").as_deref(), Some("hush"));
}

#[tokio::test]
async fn without_a_collector_only_a_callers_trace_is_passed_on() {
    let server = start_uncached().await;
    server.post("/inference/chat", &hello(false)).send().await.unwrap();
    assert_eq!(server.ollama.header("/api/chat", "traceparent"), None);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let request = server.post("/inference/chat", &hello(false)).header("traceparent", &parent);
    request.header("tracestate", "a=1").header("tracestate", "b=2").send().await.unwrap();
    assert_eq!(server.ollama.header("/api/chat", "traceparent"), Some(parent));
    assert_eq!(server.ollama.header("/api/chat", "tracestate").as_deref(), Some("a=1,b=2"));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_traces_and_nothing_else() {
    let server = start_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]).await;
    // More than there is room for.
    for _ in 0..20 {
        let requests = (0..250).map(|_| server.get("/").send());
        for reply in futures_util::future::join_all(requests).await {
            assert_eq!(reply.unwrap().status(), 200);
        }
    }
    eventually("those without room are counted", async || {
        server.metric("simpleton_trace_spans_total{outcome=\"dropped\"}").await > 0.0
    })
    .await;
    tokio::time::timeout(std::time::Duration::from_secs(10), server.stop()).await.expect("it stops");
}

#[tokio::test]
async fn spans_that_wait_are_sent_when_the_server_stops() {
    let collector = collector().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20dTpw%3D%3D".to_owned()),
    ];
    let server = start_with(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    server.post("/inference/chat", &hello(false)).send().await.unwrap().text().await.unwrap();
    server.stop().await;
    assert_eq!(spans(&collector).len(), 2);
    assert_eq!(collector.header("/v1/traces", "authorization").as_deref(), Some("Basic dTpw=="));
}

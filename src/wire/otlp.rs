//! Spans as OTLP/JSON, for `POST /v1/traces`:
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>. Ids are hexadecimal, and 64-bit
//! numbers are strings.

use serde::{Serialize, Serializer};

/// One finished span.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    pub name: String,
    pub kind: SpanKind,
    /// Since 1970.
    #[serde(serialize_with = "as_text")]
    pub start_time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    pub end_time_unix_nano: u64,
    pub attributes: Vec<Attribute>,
    pub status: Status,
}

impl Span {
    #[must_use]
    pub fn with(mut self, attributes: Vec<Attribute>, status: Status) -> Self {
        (self.attributes, self.status) = (attributes, status);
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Server = 2,
    Client = 3,
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    code: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

impl Status {
    /// Neither said to be good nor bad, as a server's spans are that answered.
    pub fn unset() -> Self {
        Self { code: 0, message: String::new() }
    }

    pub fn error(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Attribute {
    key: &'static str,
    value: Value,
}

impl Attribute {
    pub fn new(key: &'static str, value: impl Into<Value>) -> Self {
        Self { key, value: value.into() }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    StringValue(String),
    #[serde(serialize_with = "as_text")]
    IntValue(u64),
    DoubleValue(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::StringValue(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::StringValue(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::IntValue(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::DoubleValue(number)
    }
}

/// The body of one export: spans of one process.
pub fn export(resource: &[Attribute], spans: &[Span]) -> Vec<u8> {
    let body = Export {
        resource_spans: [ResourceSpans {
            resource: Resource { attributes: resource },
            scope_spans: [ScopeSpans {
                scope: Scope { name: "simpleton", version: env!("CARGO_PKG_VERSION") },
                spans,
            }],
        }],
    };
    serde_json::to_vec(&body).expect("spans have only texts and numbers")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: &'a [Attribute],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: &'a [Span],
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

impl Serialize for SpanKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

fn as_text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn an_export_has_the_specified_form() {
        let span = Span {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            span_id: "00f067aa0ba902b7".to_owned(),
            trace_state: Some("vendor=1".to_owned()),
            parent_span_id: None,
            name: "POST /inference/chat".to_owned(),
            kind: SpanKind::Server,
            start_time_unix_nano: 1_544_712_660_000_000_000,
            end_time_unix_nano: 1_544_712_661_000_000_000,
            attributes: vec![
                Attribute::new("http.route", "/inference/chat"),
                Attribute::new("gen_ai.usage.input_tokens", 12_u64),
                Attribute::new("simpleton.queue", 0.5),
            ],
            status: Status::error("It broke off."),
        };
        let body: Json =
            serde_json::from_slice(&export(&[Attribute::new("service.name", "s")], &[span])).expect("JSON");
        assert_eq!(
            body,
            json!({"resourceSpans": [{
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]},
                "scopeSpans": [{
                    "scope": {"name": "simpleton", "version": env!("CARGO_PKG_VERSION")},
                    "spans": [{
                        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7",
                        "traceState": "vendor=1",
                        "name": "POST /inference/chat", "kind": 2,
                        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
                        "attributes": [
                            {"key": "http.route", "value": {"stringValue": "/inference/chat"}},
                            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
                            {"key": "simpleton.queue", "value": {"doubleValue": 0.5}},
                        ],
                        "status": {"code": 2, "message": "It broke off."},
                    }],
                }],
            }]})
        );
    }
}

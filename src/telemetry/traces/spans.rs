//! Spans of finished records, with the attributes of OpenTelemetry's semantic conventions for
//! HTTP servers and for generative AI, <https://opentelemetry.io/docs/specs/semconv/gen-ai/>. Neither
//! prompts nor answers are among them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    request_context::Context,
    telemetry::record::{ModelCall, RequestRecord},
    wire::otlp::{Attribute, Span, SpanKind, Status},
};

/// The span of a request. Its name is its route, never its path.
pub(super) fn of_request(request: &RequestRecord) -> Span {
    let RequestRecord { method, endpoint, path, status, duration, ended_at, facts, .. } = request;
    let mut attributes = vec![
        Attribute::new("http.request.method", *method),
        Attribute::new("http.route", *endpoint),
        Attribute::new("url.path", path.as_str()),
        Attribute::new("url.scheme", "http"),
        Attribute::new("http.response.status_code", u64::from(*status)),
        Attribute::new("http.request.body.size", facts.bytes_in),
        Attribute::new("http.response.body.size", facts.bytes_out),
        Attribute::new("simpleton.request_id", request.context.request_id.as_str()),
    ];
    if let Some(key) = facts.key {
        attributes.push(Attribute::new("simpleton.key_id", key.to_string()));
    }
    if let Some(cache) = &facts.cache {
        attributes.push(Attribute::new("simpleton.cache", cache.as_str()));
    }
    if let Some(model) = &facts.model {
        attributes.push(Attribute::new("gen_ai.request.model", &**model));
        attributes.push(Attribute::new("gen_ai.operation.name", operation(endpoint)));
    }
    if let Some(usage) = facts.usage {
        attributes.push(Attribute::new("gen_ai.usage.input_tokens", usage.prompt_tokens));
        attributes.push(Attribute::new("gen_ai.usage.output_tokens", usage.completion_tokens));
    }
    seconds(&mut attributes, "simpleton.time_to_first_token", facts.first_token);
    if let Some(error) = &facts.error {
        attributes.push(Attribute::new("error.type", error.kind));
    }
    // The conventions: what a client did wrong is no error of the server's.
    let status = match &facts.error {
        Some(error) if !(400..500).contains(status) => Status::error(error.message.as_str()),
        _ => Status::unset(),
    };
    span(&request.context, format!("{method} {endpoint}"), SpanKind::Server, *ended_at, *duration)
        .with(attributes, status)
}

/// The span of a call of a model.
pub(super) fn of_call(call: &ModelCall) -> Span {
    let operation = operation(call.endpoint);
    let mut attributes = vec![
        Attribute::new("gen_ai.operation.name", operation),
        Attribute::new("gen_ai.provider.name", call.backend),
        Attribute::new("gen_ai.request.model", &*call.model),
    ];
    if let Some(usage) = call.usage {
        attributes.push(Attribute::new("gen_ai.usage.input_tokens", usage.prompt_tokens));
        attributes.push(Attribute::new("gen_ai.usage.output_tokens", usage.completion_tokens));
    }
    seconds(&mut attributes, "simpleton.queue_time", call.queue);
    seconds(&mut attributes, "simpleton.time_to_first_token", call.first_token);
    if let Some(error) = call.error {
        attributes.push(Attribute::new("error.type", error));
    }
    let status = call.error.map_or_else(Status::unset, Status::error);
    let name = format!("{operation} {}", call.model);
    span(&call.context, name, SpanKind::Client, call.ended_at, call.duration).with(attributes, status)
}

/// As the conventions call what the routes do.
fn operation(endpoint: &str) -> &'static str {
    if endpoint.starts_with("/embeddings") {
        "embeddings"
    } else if endpoint == "/inference/generate" {
        "text_completion"
    } else {
        "chat"
    }
}

fn seconds(attributes: &mut Vec<Attribute>, key: &'static str, time: Option<Duration>) {
    if let Some(time) = time {
        attributes.push(Attribute::new(key, time.as_secs_f64()));
    }
}

fn span(context: &Context, name: String, kind: SpanKind, ended_at: SystemTime, took: Duration) -> Span {
    let end = ended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let trace = &context.trace;
    Span {
        trace_id: trace.id.to_string(),
        span_id: trace.span.to_string(),
        trace_state: context.tracestate.clone(),
        parent_span_id: trace.parent.map(|parent| parent.to_string()),
        name,
        kind,
        start_time_unix_nano: nanos(end.saturating_sub(took)),
        end_time_unix_nano: nanos(end),
        attributes: Vec::new(),
        status: Status::unset(),
    }
}

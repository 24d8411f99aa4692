//! One line for each request, at its end. Of what was asked and answered it has figures only.

use std::{sync::Arc, time::Duration};

use tracing::Level;

use crate::{
    request_context::scope_sync,
    telemetry::{
        labels::Purpose,
        record::{Outcome, RequestRecord},
        sink::Sink,
    },
    types::CacheStatus,
};

/// The level of a line is a constant where it is written.
macro_rules! write_line {
    ($level:expr, $request:ident) => {{
        let RequestRecord { method, path, endpoint, status, .. } = $request;
        let milliseconds = |time: Duration| time.as_micros() as f64 / 1e3;
        tracing::event!(
            $level,
            method,
            path,
            endpoint,
            status,
            duration_ms = milliseconds($request.duration),
            first_token_ms = $request.facts.first_token.map(milliseconds),
            queue_ms = $request.facts.queue.map(milliseconds),
            key_id = $request.facts.key.map(tracing::field::display),
            model = $request.facts.model.as_deref(),
            cache = $request.facts.cache.as_ref().map(CacheStatus::as_str),
            prompt_tokens = $request.facts.usage.map(|usage| usage.prompt_tokens),
            completion_tokens = $request.facts.usage.map(|usage| usage.completion_tokens),
            bytes_in = $request.facts.bytes_in,
            bytes_out = $request.facts.bytes_out,
            error = $request.facts.error.as_ref().map(|error| error.kind),
            "request"
        );
    }};
}

pub struct RequestLines;

impl Sink for RequestLines {
    fn request_ended(&self, request: &RequestRecord) {
        scope_sync(Arc::clone(&request.context), || {
            if is_routine(request) {
                write_line!(Level::DEBUG, request);
            } else {
                write_line!(Level::INFO, request);
            }
        });
    }
}

/// Scrapes, probes and views of the service itself come every few seconds, and say nothing while all
/// is well. What changes something is none.
fn is_routine(request: &RequestRecord) -> bool {
    request.purpose == Purpose::Service
        && request.outcome() == Outcome::Answered
        && matches!(request.method, "GET" | "HEAD")
}

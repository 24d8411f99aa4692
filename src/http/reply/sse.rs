//! Frames of server-sent events (WHATWG HTML, "9.2 Server-sent events") that wait to be sent.

use std::{convert::Infallible, mem};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;

use crate::wire::sse;

/// A comment, which clients skip.
pub(in crate::http) const PING: &[u8] = b": ping\n\n";

/// Response whose body is a stream of frames.
pub(in crate::http) fn response(
    frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold events back to fill its buffers.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

#[derive(Default)]
pub(in crate::http) struct SseFrames(Vec<u8>);

impl SseFrames {
    /// Appends an event with this JSON as its data.
    pub(in crate::http) fn data(&mut self, json: &impl Serialize) {
        sse::write_data(&mut self.0, |out| {
            serde_json::to_writer(out, json).expect("texts, numbers and JSON, and a Vec takes them all");
        });
    }

    /// Appends an event with data that is JSON already.
    pub(in crate::http) fn json(&mut self, data: &[u8]) {
        sse::write_data(&mut self.0, |out| out.extend_from_slice(data));
    }

    /// Appends an event with a name and data.
    pub(in crate::http) fn named(&mut self, event: &str, data: &[u8]) {
        self.0.extend_from_slice(b"event: ");
        self.0.extend_from_slice(event.as_bytes());
        self.0.push(b'\n');
        sse::write_data(&mut self.0, |out| out.extend_from_slice(data));
    }

    /// Appends the event that ends a stream in OpenAI's API.
    pub(in crate::http) fn done(&mut self) {
        self.0.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Appends a comment.
    pub(in crate::http) fn ping(&mut self) {
        self.0.extend_from_slice(PING);
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::http) fn take(&mut self) -> Bytes {
        mem::take(&mut self.0).into()
    }
}

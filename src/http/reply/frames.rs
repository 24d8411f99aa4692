//! Frames of a stream that wait to be sent: server-sent events (WHATWG HTML, "9.2 Server-sent events") or lines of
//! JSON.

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

const SSE: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";

/// A comment, which clients skip.
const PING: &[u8] = b": ping\n\n";
/// JSON may begin with spaces, and each line of a stream is followed by another one until the last.
const SPACE: &[u8] = b" ";

/// Bytes that a stream of this type can send between its frames to see whether its client is still there.
pub(in crate::http) fn probe(content_type: &str) -> Option<&'static [u8]> {
    match content_type {
        SSE => Some(PING),
        NDJSON => Some(SPACE),
        _ => None,
    }
}

/// Format of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Framing {
    #[default]
    Sse,
    /// A line of JSON for each event. It has no comments, and an empty line would break clients, so that a silent
    /// stream sends nothing.
    Ndjson,
}

impl Framing {
    /// Response whose body is a stream of frames.
    pub(in crate::http) fn response(
        self,
        frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
    ) -> Response {
        let content_type = match self {
            Self::Sse => SSE,
            Self::Ndjson => NDJSON,
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            // nginx would hold events back to fill its buffers.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        (headers, Body::from_stream(frames)).into_response()
    }
}

#[derive(Default)]
pub(in crate::http) struct Frames {
    framing: Framing,
    bytes: Vec<u8>,
}

impl Frames {
    pub(in crate::http) fn new(framing: Framing) -> Self {
        Self { framing, bytes: Vec::new() }
    }

    /// Appends an event with this JSON as its data.
    pub(in crate::http) fn data(&mut self, json: &impl Serialize) {
        self.write(|out| {
            serde_json::to_writer(out, json).expect("texts, numbers and JSON, and a Vec takes them all");
        });
    }

    /// Appends an event with data that is JSON already.
    pub(in crate::http) fn json(&mut self, data: &[u8]) {
        self.write(|out| out.extend_from_slice(data));
    }

    /// Appends an event with a name and data. A line of JSON has no name.
    pub(in crate::http) fn named(&mut self, event: &str, data: &[u8]) {
        if self.framing == Framing::Sse {
            self.bytes.extend_from_slice(b"event: ");
            self.bytes.extend_from_slice(event.as_bytes());
            self.bytes.push(b'\n');
        }
        self.json(data);
    }

    /// Appends the event that ends a stream in OpenAI's API.
    pub(in crate::http) fn done(&mut self) {
        self.bytes.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Appends a comment, if the format has any.
    pub(in crate::http) fn ping(&mut self) {
        if self.framing == Framing::Sse {
            self.bytes.extend_from_slice(PING);
        }
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(in crate::http) fn take(&mut self) -> Bytes {
        mem::take(&mut self.bytes).into()
    }

    fn write(&mut self, data: impl FnOnce(&mut Vec<u8>)) {
        match self.framing {
            Framing::Sse => sse::write_data(&mut self.bytes, data),
            Framing::Ndjson => {
                data(&mut self.bytes);
                self.bytes.push(b'\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_in_the_format_of_the_stream() {
        for (framing, expected) in [
            (Framing::Sse, "data: {\"a\":1}\n\nevent: error\ndata: {}\n\n: ping\n\n"),
            (Framing::Ndjson, "{\"a\":1}\n{}\n"),
        ] {
            let mut frames = Frames::new(framing);
            frames.data(&serde_json::json!({"a": 1}));
            frames.named("error", b"{}");
            frames.ping();
            assert_eq!(frames.take(), expected);
        }
    }
}

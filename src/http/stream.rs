//! A reply as one JSON object or as server-sent events, in the shapes of Ollama.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::{
    cached,
    caller::Caller,
    error::{Problem, Result},
};
use crate::{
    app::ChatReply,
    cache::Events,
    error::{self, Error, Kind},
    telemetry::observation::Observation,
    types::{ChatEvent, Done, ToolCall},
    wire::{
        ollama::{ChatChunk, End, GenerateChunk, MessageChunk, ToolCallChunk},
        sse,
    },
};

/// Whose reply it is.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Generate,
    Chat,
}

/// The reply, streamed or whole. A failure before the first event is an ordinary error.
pub(super) async fn respond(
    caller: &Caller,
    reply: ChatReply,
    shape: Shape,
    stream: bool,
) -> Result<Response> {
    let served = reply.served.clone();
    let mut response = if stream {
        streamed(Arc::clone(&caller.observation), reply, shape).await?
    } else {
        whole(reply, shape).await?
    };
    cached::mark(response.headers_mut(), &served);
    Ok(response)
}

/// The parts of a chunk that come from events.
#[derive(Default)]
struct Parts<'a> {
    text: &'a str,
    thinking: Option<&'a str>,
    tool_calls: &'a [ToolCall],
    done: Option<&'a Done>,
}

impl Shape {
    fn write(self, out: &mut Vec<u8>, model: &str, parts: &Parts<'_>) {
        let done = parts.done.is_some();
        let end = parts.done.map(End::from);
        let thinking = parts.thinking;
        let written = match self {
            Self::Generate => serde_json::to_writer(
                out,
                &GenerateChunk { model, response: parts.text, thinking, done, end },
            ),
            Self::Chat => {
                let tool_calls: Vec<ToolCallChunk<'_>> =
                    parts.tool_calls.iter().map(ToolCallChunk::from).collect();
                let message = MessageChunk {
                    role: "assistant",
                    content: parts.text,
                    thinking,
                    tool_calls: &tool_calls,
                };
                serde_json::to_writer(out, &ChatChunk { model, message, done, end })
            }
        };
        written.expect("chunks hold only texts, numbers and JSON, and a Vec takes them all");
    }
}

async fn whole(mut reply: ChatReply, shape: Shape) -> Result<Response> {
    let (mut text, mut thinking, mut tool_calls) = (String::new(), String::new(), Vec::new());
    while let Some(event) = reply.events.next().await {
        match event? {
            ChatEvent::Text(more) if text.is_empty() => text = more,
            ChatEvent::Text(more) => text.push_str(&more),
            ChatEvent::Thinking(more) => thinking.push_str(&more),
            ChatEvent::ToolCall(call) => tool_calls.push(*call),
            ChatEvent::Done(done) => {
                let mut json = Vec::with_capacity(text.len() + 512);
                let thinking = (!thinking.is_empty()).then_some(thinking.as_str());
                let parts = Parts { text: &text, thinking, tool_calls: &tool_calls, done: Some(&done) };
                shape.write(&mut json, &reply.model, &parts);
                let content_type = HeaderValue::from_static("application/json");
                return Ok(([(header::CONTENT_TYPE, content_type)], json).into_response());
            }
        }
    }
    Err(incomplete().into())
}

async fn streamed(observation: Arc<Observation>, mut reply: ChatReply, shape: Shape) -> Result<Response> {
    let first = match reply.events.next().await {
        Some(first) => first?,
        None => return Err(incomplete().into()),
    };
    let body = SseBody {
        model: reply.model,
        events: reply.events,
        first: Some(first),
        shape,
        observation,
        ended: false,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold events back to fill its buffers.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Events as they arrive; those that have arrived together leave together.
struct SseBody {
    model: String,
    events: Events,
    first: Option<ChatEvent>,
    shape: Shape,
    observation: Arc<Observation>,
    ended: bool,
}

/// What one piece of the body may hold before it is passed on.
const PIECE: usize = 16 * 1024;

impl SseBody {
    fn write(&mut self, out: &mut Vec<u8>, event: Option<error::Result<ChatEvent>>) {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return self.fail(out, &error),
            None => return self.fail(out, &incomplete()),
        };
        let parts = match &event {
            ChatEvent::Text(text) => Parts { text, ..Parts::default() },
            ChatEvent::Thinking(text) => Parts { thinking: Some(text), ..Parts::default() },
            ChatEvent::ToolCall(call) => {
                Parts { tool_calls: std::slice::from_ref(&**call), ..Parts::default() }
            }
            ChatEvent::Done(done) => {
                self.ended = true;
                Parts { done: Some(done), ..Parts::default() }
            }
        };
        sse::write_data(out, |out| self.shape.write(out, &self.model, &parts));
    }

    fn fail(&mut self, out: &mut Vec<u8>, error: &Error) {
        self.ended = true;
        self.observation.failed(error);
        out.extend_from_slice(b"event: error\n");
        let problem = Problem::new(error, self.observation.request_id()).to_json();
        sse::write_data(out, |out| out.extend_from_slice(&problem));
    }
}

impl Stream for SseBody {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut out = Vec::with_capacity(256);
        if let Some(first) = self.first.take() {
            self.write(&mut out, Some(Ok(first)));
        }
        while !self.ended && out.len() < PIECE {
            match self.events.as_mut().poll_next(cx) {
                Poll::Ready(event) => self.write(&mut out, event),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(out.into())))
    }
}

fn incomplete() -> Error {
    Error::new(Kind::BadGateway, "The backend ended its answer before it was complete.")
}

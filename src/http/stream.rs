//! A reply as one JSON object or as server-sent events, in the shapes of Ollama.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{
    HttpState, cached,
    caller::Caller,
    error::{Problem, Result, shutting_down},
    silence::{Interruption, PING, Silence},
};
use crate::{
    app::ChatReply,
    cache::Events,
    error::{self, Error, Kind},
    telemetry::recorder::RequestRecorder,
    types::{ChatEvent, Done, ToolCall},
    wire::{
        ollama::{ChatChunk, End, GenerateChunk, MessageChunk, ToolCallChunk},
        sse,
    },
};

/// Whose reply it is.
#[derive(Clone, Copy)]
pub(super) enum ReplyFormat {
    Generate,
    Chat,
}

/// The reply, streamed or whole. A failure before the first event is an ordinary error, unless a stream
/// has begun without one.
pub(super) async fn respond<R>(
    state: &HttpState,
    caller: &Caller,
    reply: R,
    reply_format: ReplyFormat,
    stream: bool,
) -> Result<Response>
where
    R: Future<Output = error::Result<ChatReply>> + Send + 'static,
{
    if stream {
        return streamed(state, Arc::clone(&caller.recorder), reply, reply_format).await;
    }
    let reply = reply.await?;
    let cache_status = reply.cache_status.clone();
    let mut response = whole(reply, reply_format).await?;
    cached::mark(response.headers_mut(), &cache_status);
    Ok(response)
}

/// The parts of a chunk that come from events.
#[derive(Default)]
struct EventFields<'a> {
    text: &'a str,
    thinking: Option<&'a str>,
    tool_calls: &'a [ToolCall],
    done: Option<&'a Done>,
}

impl ReplyFormat {
    fn write(self, out: &mut Vec<u8>, model: &str, parts: &EventFields<'_>) {
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

async fn whole(mut reply: ChatReply, reply_format: ReplyFormat) -> Result<Response> {
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
                let parts = EventFields { text: &text, thinking, tool_calls: &tool_calls, done: Some(&done) };
                reply_format.write(&mut json, &reply.model, &parts);
                let content_type = HeaderValue::from_static("application/json");
                return Ok(([(header::CONTENT_TYPE, content_type)], json).into_response());
            }
        }
    }
    Err(incomplete().into())
}

async fn streamed<R>(
    state: &HttpState,
    recorder: Arc<RequestRecorder>,
    reply: R,
    reply_format: ReplyFormat,
) -> Result<Response>
where
    R: Future<Output = error::Result<ChatReply>> + Send + 'static,
{
    let mut begin: Beginning = Box::pin(async move {
        let mut reply = reply.await?;
        match reply.events.next().await {
            Some(first) => Ok((reply, first?)),
            None => Err(incomplete()),
        }
    });
    let (source, out, cache_status) = match timeout(state.streams.headers_after, &mut begin).await {
        Ok(begun) => {
            let (reply, first) = begun?;
            let cache_status = reply.cache_status.clone();
            (Source::begun(reply), Some(first), Some(cache_status))
        }
        Err(_) => (Source::Waiting(begin), None, None),
    };
    let silence = Silence::new(state.streams.ping_every, state.cutoff.clone());
    let mut body = SseBody { source, reply_format, recorder, silence, out: Vec::new(), ended: false };
    match out {
        Some(first) => body.write(Some(Ok(first))),
        None => body.out.extend_from_slice(PING),
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold events back to fill its buffers.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    let mut response = (headers, Body::from_stream(body)).into_response();
    if let Some(cache_status) = cache_status {
        cached::mark(response.headers_mut(), &cache_status);
    }
    Ok(response)
}

/// The reply with its first event.
type Beginning = Pin<Box<dyn Future<Output = error::Result<(ChatReply, ChatEvent)>> + Send>>;

enum Source {
    Waiting(Beginning),
    Begun { model: String, events: Events },
}

impl Source {
    fn begun(reply: ChatReply) -> Self {
        Self::Begun { model: reply.model, events: reply.events }
    }
}

/// Events as they arrive; those that have arrived together leave together.
struct SseBody {
    source: Source,
    reply_format: ReplyFormat,
    recorder: Arc<RequestRecorder>,
    silence: Silence,
    /// Bytes that are sent next.
    out: Vec<u8>,
    ended: bool,
}

/// Size at which a piece of the body is passed on.
const PIECE: usize = 16 * 1024;

impl SseBody {
    fn write(&mut self, event: Option<error::Result<ChatEvent>>) {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return self.fail(&error),
            None => return self.fail(&incomplete()),
        };
        let parts = match &event {
            ChatEvent::Text(text) => EventFields { text, ..EventFields::default() },
            ChatEvent::Thinking(text) => EventFields { thinking: Some(text), ..EventFields::default() },
            ChatEvent::ToolCall(call) => {
                EventFields { tool_calls: std::slice::from_ref(&**call), ..EventFields::default() }
            }
            ChatEvent::Done(done) => {
                self.ended = true;
                EventFields { done: Some(done), ..EventFields::default() }
            }
        };
        if let Source::Begun { model, .. } = &self.source {
            sse::write_data(&mut self.out, |out| self.reply_format.write(out, model, &parts));
        }
    }

    fn fail(&mut self, error: &Error) {
        self.ended = true;
        self.recorder.failed(error);
        self.out.extend_from_slice(b"event: error\n");
        let problem = Problem::new(error, self.recorder.request_id()).to_json();
        sse::write_data(&mut self.out, |out| out.extend_from_slice(&problem));
    }

    /// The next event, if it is there.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<error::Result<ChatEvent>>> {
        match &mut self.source {
            Source::Begun { events, .. } => events.as_mut().poll_next(cx),
            Source::Waiting(begin) => {
                let begun = ready!(begin.as_mut().poll(cx));
                Poll::Ready(Some(begun.map(|(reply, first)| {
                    self.source = Source::begun(reply);
                    first
                })))
            }
        }
    }
}

impl Stream for SseBody {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended && self.out.len() < PIECE {
            match self.poll_event(cx) {
                Poll::Ready(event) => self.write(event),
                Poll::Pending if !self.out.is_empty() => break,
                Poll::Pending => match ready!(self.silence.poll(cx)) {
                    Interruption::Ping => self.out.extend_from_slice(PING),
                    Interruption::Cutoff => self.fail(&shutting_down()),
                },
            }
        }
        if self.out.is_empty() {
            return Poll::Ready(None);
        }
        self.silence.broken();
        Poll::Ready(Some(Ok(mem::take(&mut self.out).into())))
    }
}

fn incomplete() -> Error {
    Error::new(Kind::BadGateway, "The backend ended its response before it was complete.")
}

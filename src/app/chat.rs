//! THE pipeline: everything that produces text goes through `App::chat`. This is the only place that
//! calls `Backend::chat`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Stream, StreamExt};

use super::{
    App, Caller,
    checked::{checked, prepare},
    metering::{RecordedEvents, note},
};
use crate::{
    backend::ChatStream,
    cache::Events,
    error::{Error, Kind, Result},
    request_context::{scope, scope_sync},
    telemetry::model_call::ModelCallRecorder,
    types::{CacheStatus, ChatEvent, ChatRequest, Done, FinishReason, Message, Prompt, ToolCall},
};

/// A reply whose events are still to come. Dropping it stops the work behind it, unless somebody
/// else is waiting for the same.
pub struct ChatReply {
    /// The model that answers.
    pub model: String,
    pub events: Events,
    pub cache_status: CacheStatus,
}

/// A reply as a whole.
#[derive(Debug, Default)]
pub struct Collected {
    pub text: String,
    /// Reasoning that a thinking model wrote before its answer; empty when there is none.
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    pub done: Done,
}

impl ChatReply {
    /// Waits for the end of the reply.
    ///
    /// # Errors
    /// The failure that ended it, and `BadGateway` when it stopped without an end.
    pub async fn collect(mut self) -> Result<Collected> {
        let mut all = Collected::default();
        while let Some(event) = self.events.next().await {
            match event? {
                ChatEvent::Text(more) if all.text.is_empty() => all.text = more,
                ChatEvent::Text(more) => all.text.push_str(&more),
                ChatEvent::Thinking(more) => all.thinking.push_str(&more),
                ChatEvent::ToolCall(call) => all.tool_calls.push(*call),
                ChatEvent::Done(done) => return Ok(Collected { done: *done, ..all }),
            }
        }
        Err(incomplete())
    }
}

/// Error for a reply that stopped without an end.
pub fn incomplete() -> Error {
    Error::new(Kind::BadGateway, "The backend ended its response before it was complete.")
}

impl App {
    /// Answers a request: from the cache, together with an identical one that is running, or by the
    /// model. Returns when it is known which, and the backend has accepted the request.
    ///
    /// # Errors
    /// Whatever the backend says, in our kinds; see `http/middleware/errors.rs` for what a client makes of them.
    pub async fn chat(&self, caller: &Caller, mut request: ChatRequest) -> Result<ChatReply> {
        let model = request.model.clone();
        if let Prompt::Messages(messages) = &mut request.prompt {
            Message::name_tools(messages);
        }
        let identity = self.models.identify(&model).await;
        if let Some(listed) = &identity.listed {
            caller.recorder.model(Arc::clone(listed));
        }
        let key = self.cache.chat_key(&request, self.origin(&identity, caller));
        let (backend, begin) = (Arc::clone(&self.backend), self.call(caller, &model, &identity));
        let max_tokens = request.sampling.max_tokens;
        let generate = async move || -> Result<Events> {
            let (request, checks) = prepare(request).await?;
            let mut call = begin();
            let asked = scope(call.context(), backend.chat(request)).await;
            let events = asked.inspect_err(|error| call.failed(error))?;
            let metered: Events = Box::pin(Metered { events, call, max_tokens, bytes: 0 });
            Ok(checked(metered, checks))
        };
        let (events, cache_status) = self.cache.chat(key, caller.cache_control, generate).await?;
        note(&caller.recorder, &cache_status, self.backend.name());
        let events = RecordedEvents::new(events, &cache_status, Arc::clone(&caller.recorder));
        Ok(ChatReply { model, events: Box::pin(events), cache_status })
    }
}

/// A model that does not end its reply must not fill our memory.
const MAX_REPLY_BYTES: usize = 32 * 1024 * 1024;

/// Counts what a reply cost when it has ended, and cuts off one that grows too large.
struct Metered {
    events: ChatStream,
    call: ModelCallRecorder,
    max_tokens: Option<u32>,
    bytes: usize,
}

impl Stream for Metered {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = scope_sync(self.call.context(), || self.events.as_mut().poll_next(cx));
        let mut event = ready!(event);
        self.bytes += event.as_ref().and_then(|event| event.as_ref().ok()).map_or(0, ChatEvent::size);
        if self.bytes > MAX_REPLY_BYTES {
            let message = "The model's answer exceeded 32 MB and was cut off.";
            event = Some(Err(Error::new(Kind::BadGateway, message)));
        }
        match &mut event {
            Some(Ok(ChatEvent::Done(done))) => {
                if done.reason == FinishReason::Length && !done.usage.has_reached(self.max_tokens) {
                    done.reason = FinishReason::Context;
                }
                self.call.answered(done.usage, done.timings.queue);
            }
            Some(Ok(_)) => self.call.event(),
            Some(Err(error)) => self.call.failed(error),
            None => {}
        }
        Poll::Ready(event)
    }
}

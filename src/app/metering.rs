//! Metering of a request while it is answered.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{App, Caller, catalog::Route};
use crate::{
    cache::Events,
    error::{Error, Kind, Result},
    request_context::{scope, scope_sync},
    telemetry::{
        Sinks,
        model_call::{ModelCallOrigin, ModelCallRecorder},
        recorder::RequestRecorder,
    },
    types::{CacheStatus, ChatEvent, FinishReason, Timings},
};

/// Source of answers, as metrics name it.
pub(super) struct Source {
    pub(super) backend: &'static str,
    pub(super) model: Arc<str>,
    /// Whether the backend lists the model.
    pub(super) listed: bool,
}

impl From<&Route> for Source {
    fn from(route: &Route) -> Self {
        Self { backend: route.backend.name(), model: route.label(), listed: route.listed.is_some() }
    }
}

/// Meter of one call of a model. It knows the caller and not the request's recorder: a call may outlive the
/// request that began it.
pub(super) struct Meter {
    sinks: Sinks,
    source: Source,
    from: ModelCallOrigin,
    max_tokens: Option<u32>,
}

impl App {
    /// Notes on the request which model it is for, and returns the meter of its call.
    pub(super) fn meter(&self, caller: &Caller, source: Source, max_tokens: Option<u32>) -> Meter {
        if source.listed {
            caller.recorder.model(Arc::clone(&source.model));
        }
        let from = ModelCallOrigin {
            backend: source.backend,
            method: caller.recorder.method(),
            endpoint: caller.endpoint,
            key: caller.principal.label(),
            context: caller.recorder.context(),
        };
        Meter { sinks: self.monitoring.sinks.clone(), source, from, max_tokens }
    }
}

impl Meter {
    /// Begins the call.
    pub(super) fn begin(self) -> ModelCallRecorder {
        ModelCallRecorder::begin(self.sinks, self.source.model, self.source.listed, self.from)
    }

    /// Begins the call, asks for its events, and meters them as they come.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) async fn run(self, ask: impl Future<Output = Result<Events>>) -> Result<Events> {
        let max_tokens = self.max_tokens;
        let mut call = self.begin();
        let asked = scope(call.context(), ask).await;
        let events = asked.inspect_err(|error| call.failed(error))?;
        Ok(Box::pin(Metered { events, call, max_tokens, bytes: 0 }))
    }
}

pub(super) fn note(recorder: &RequestRecorder, cache_status: &CacheStatus, backend: &'static str) {
    recorder.cache(cache_status.clone());
    if !matches!(cache_status, CacheStatus::Hit { .. }) {
        recorder.backend(backend);
    }
}

/// A reply on its way to the caller.
pub(super) struct RecordedEvents {
    events: Events,
    /// Whether the model is at work for this request; what a hit tells is of an earlier one.
    made: bool,
    /// Whether its times are this request's.
    own: bool,
    recorder: Arc<RequestRecorder>,
}

impl RecordedEvents {
    pub(super) fn new(events: Events, cache_status: &CacheStatus, recorder: Arc<RequestRecorder>) -> Self {
        let made = !matches!(cache_status, CacheStatus::Hit { .. });
        Self { events, made, own: made && !matches!(cache_status, CacheStatus::Collapsed), recorder }
    }
}

impl Stream for RecordedEvents {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut event = ready!(self.events.as_mut().poll_next(cx));
        match &mut event {
            Some(Ok(ChatEvent::Done(done))) => {
                self.recorder.usage(done.usage);
                if let Some(waited) = done.timings.queue.filter(|_| self.made) {
                    self.recorder.queue(waited);
                }
                if !self.own {
                    done.timings = Timings::default();
                }
                // Nor does every backend measure.
                if done.timings.total.is_zero() {
                    done.timings.total = self.recorder.elapsed();
                }
            }
            Some(Ok(_)) => self.recorder.first_token(),
            _ => {}
        }
        Poll::Ready(event)
    }
}

/// A model that does not end its reply must not fill our memory.
const MAX_REPLY_BYTES: usize = 32 * 1024 * 1024;

/// Counts what a reply cost when it has ended, and cuts off one that grows too large.
struct Metered {
    events: Events,
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

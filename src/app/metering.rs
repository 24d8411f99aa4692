//! Metering of a request while it is answered.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{App, Caller, models::Identity};
use crate::{
    cache::Events,
    error::Result,
    telemetry::{
        model_call::{ModelCallOrigin, ModelCallRecorder},
        recorder::RequestRecorder,
    },
    types::{CacheStatus, ChatEvent, Timings},
};

impl App {
    /// Begins a call of the model when it is called. It knows the caller and not the observation: a
    /// call may outlive the request that began it.
    pub(super) fn call(
        &self,
        caller: &Caller,
        model: &str,
        identity: &Identity,
    ) -> impl FnOnce() -> ModelCallRecorder + Send + 'static + use<> {
        let (sinks, listed) = (self.monitoring.sinks.clone(), identity.listed.is_some());
        let model = identity.listed.clone().unwrap_or_else(|| model.into());
        let from = ModelCallOrigin {
            backend: self.backend.name(),
            method: caller.recorder.method(),
            endpoint: caller.endpoint,
            key: caller.key,
            context: caller.recorder.context(),
        };
        move || ModelCallRecorder::begin(sinks, model, listed, from)
    }
}

pub(super) fn note(recorder: &RequestRecorder, cache_status: &CacheStatus, backend: &'static str) {
    recorder.cache(cache_status.clone());
    if !matches!(cache_status, CacheStatus::Hit { .. }) {
        recorder.backend(backend);
    }
}

/// A reply on its way to the one who asked for it.
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

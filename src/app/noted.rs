//! Metering of a request while it is answered.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{App, Caller, models::Identity};
use crate::{
    cache::{Events, Served},
    error::Result,
    telemetry::{
        call::{CallFrom, RunningCall},
        observation::{CacheOutcome, Observation},
    },
    types::{ChatEvent, Timings},
};

impl App {
    /// Begins a call of the model when it is called. It knows the caller and not the observation: a
    /// call may outlive the request that began it.
    pub(super) fn call(
        &self,
        caller: &Caller,
        model: &str,
        identity: &Identity,
    ) -> impl FnOnce() -> RunningCall + Send + 'static + use<> {
        let (sinks, listed) = (self.monitoring.sinks.clone(), identity.listed.is_some());
        let model = identity.listed.clone().unwrap_or_else(|| model.into());
        let from = CallFrom {
            backend: self.backend.name(),
            method: caller.observation.method(),
            endpoint: caller.endpoint,
            key: caller.key,
            context: caller.observation.context(),
        };
        move || RunningCall::begin(sinks, model, listed, from)
    }
}

pub(super) fn note(observation: &Observation, served: &Served, backend: &'static str) {
    observation.cache(match served {
        Served::Hit { .. } => CacheOutcome::Hit,
        Served::Miss { .. } => CacheOutcome::Miss,
        Served::Refreshed { .. } => CacheOutcome::Refreshed,
        Served::Collapsed => CacheOutcome::Collapsed,
        Served::Partial => CacheOutcome::Partial,
        Served::Bypass => CacheOutcome::Bypass,
    });
    if !matches!(served, Served::Hit { .. }) {
        observation.backend(backend);
    }
}

/// A reply on its way to the one who asked for it.
pub(super) struct Noted {
    events: Events,
    /// Whether the model is at work for this request; what a hit tells is of an earlier one.
    made: bool,
    /// Whether its times are this request's.
    own: bool,
    observation: Arc<Observation>,
}

impl Noted {
    pub(super) fn new(events: Events, served: &Served, observation: Arc<Observation>) -> Self {
        let made = !matches!(served, Served::Hit { .. });
        Self { events, made, own: made && !matches!(served, Served::Collapsed), observation }
    }
}

impl Stream for Noted {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut event = ready!(self.events.as_mut().poll_next(cx));
        match &mut event {
            Some(Ok(ChatEvent::Done(done))) => {
                self.observation.usage(done.usage);
                if let Some(waited) = done.timings.queue.filter(|_| self.made) {
                    self.observation.queue(waited);
                }
                if !self.own {
                    done.timings = Timings { total: self.observation.elapsed(), ..Timings::default() };
                }
            }
            Some(Ok(_)) => self.observation.first_token(),
            _ => {}
        }
        Poll::Ready(event)
    }
}

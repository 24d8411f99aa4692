//! THE pipeline: everything that produces text goes through `App::chat`. This is the only place that
//! calls `Backend::chat`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::{App, Caller};
use crate::{
    backend::ChatStream,
    cache::{Events, Served},
    error::Result,
    telemetry::metrics::Metrics,
    types::{ChatEvent, ChatRequest},
};

/// A reply whose events are still to come. Dropping it stops the work behind it, unless somebody
/// else is waiting for the same.
pub struct ChatReply {
    /// The model that answers.
    pub model: String,
    pub events: Events,
    pub served: Served,
}

impl App {
    /// Answers a request: from the cache, together with an identical one that is running, or by the
    /// model. Returns when it is known which, and the backend has accepted the request.
    ///
    /// # Errors
    /// Whatever the backend says, in our kinds; see `http/error.rs` for what a client makes of them.
    pub async fn chat(&self, caller: &Caller, request: ChatRequest) -> Result<ChatReply> {
        let model = request.model.clone();
        let digest = self.models.digest(&model).await;
        let key = self.cache.chat_key(&request, self.origin(digest.as_deref(), caller));
        let (backend, metrics) = (Arc::clone(&self.backend), Arc::clone(&self.metrics));
        let (metered_as, endpoint) = (model.clone(), caller.endpoint);
        let generate = async move || -> Result<Events> {
            let events = backend.chat(request).await?;
            let metered: Events = Box::pin(Metered { events, model: metered_as, endpoint, metrics });
            Ok(metered)
        };
        let (events, served) = self.cache.chat(key, caller.directives, generate).await?;
        Ok(ChatReply { model, events, served })
    }
}

/// Counts what a reply cost when it has ended.
struct Metered {
    events: ChatStream,
    model: String,
    endpoint: &'static str,
    metrics: Arc<Metrics>,
}

impl Stream for Metered {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.events.as_mut().poll_next(cx));
        if let Some(Ok(ChatEvent::Done(done))) = &event {
            self.metrics.llm_answered(&self.model, self.endpoint, done.usage);
        }
        Poll::Ready(event)
    }
}

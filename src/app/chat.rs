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
    error::Result,
    telemetry::metrics::Metrics,
    types::{ChatEvent, ChatRequest},
};

/// A reply whose events are still to come. Dropping it stops the work behind it.
pub struct ChatReply {
    /// The model that answers.
    pub model: String,
    pub events: ChatStream,
}

impl App {
    /// Asks the model of the request. Returns when the backend has accepted it.
    ///
    /// # Errors
    /// Whatever the backend says, in our kinds; see `http/error.rs` for what a client makes of them.
    pub async fn chat(&self, caller: &Caller, request: ChatRequest) -> Result<ChatReply> {
        let model = request.model.clone();
        let events = self.backend.chat(request).await?;
        let metered = Metered {
            events,
            model: model.clone(),
            endpoint: caller.endpoint,
            metrics: Arc::clone(&self.metrics),
        };
        Ok(ChatReply { model, events: Box::pin(metered) })
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

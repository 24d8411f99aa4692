//! Answers that have to fit a schema of the caller's.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use tokio::task::spawn_blocking;

use crate::{
    cache::Events,
    error::{Error, Kind, Result},
    json_schema::{self, Checks},
    types::{ChatEvent, ChatRequest, Format},
};

/// Bytes of schemas that are worth a thread of their own.
const LARGE_BYTES: usize = 8 * 1024;

/// The request as a backend enforces it, and what its answer has to be checked by.
pub(super) async fn prepare(mut request: ChatRequest) -> Result<(ChatRequest, Checks)> {
    let format = if let Format::Schema(schema) = &request.format { schema.get().len() } else { 0 };
    let size = request.tools.iter().map(|tool| tool.parameters.get().len()).sum::<usize>() + format;
    let prepare = move || json_schema::prepare(&mut request).map(|checks| (request, checks));
    if size < LARGE_BYTES {
        return prepare();
    }
    spawn_blocking(prepare)
        .await
        .map_err(|source| Error::new(Kind::Internal, "Checking the schema failed.").with_source(source))?
}

/// The same events; where the answer does not fit, an error comes in place of its end, and so it is not kept.
pub(super) fn checked(events: Events, checks: Checks) -> Events {
    if checks.is_empty() { events } else { Box::pin(Checked { events, checks }) }
}

struct Checked {
    events: Events,
    checks: Checks,
}

impl Stream for Checked {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.events.as_mut().poll_next(cx));
        Poll::Ready(event.map(|event| {
            let event = event?;
            self.checks.take(&event).map(|()| event)
        }))
    }
}

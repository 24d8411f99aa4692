//! Progress of long work as a stream of events, of which the last is the result.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use async_stream::stream;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use super::Frames;
use crate::{
    error::{self, Error, Kind},
    http::{
        HttpState,
        middleware::{
            auth::Caller,
            errors::{ErrorFormat, Result},
        },
        route,
    },
};

pub(in crate::http) type Steps<E> = Pin<Box<dyn Stream<Item = error::Result<E>> + Send>>;

/// Channel on which work reports its steps.
pub(in crate::http) struct Reports<E>(mpsc::UnboundedSender<E>);

impl<E> Reports<E> {
    pub(in crate::http) fn report(&self, step: E) {
        // Fails only when the stream that has both ends is being dropped.
        let _ = self.0.send(step);
    }
}

/// Returns the steps that some work reports, then its outcome. The work stops when the stream is dropped.
pub(in crate::http) fn of_work<E, W>(work: impl FnOnce(Reports<E>) -> W) -> Steps<E>
where
    E: Send + 'static,
    W: Future<Output = error::Result<E>> + Send + 'static,
{
    let (sender, mut steps) = mpsc::unbounded_channel();
    let mut work = Box::pin(work(Reports(sender)));
    Box::pin(stream! {
        let done = loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => yield Ok(step),
                done = &mut work => break done,
            }
        };
        while let Ok(step) = steps.try_recv() {
            yield Ok(step);
        }
        yield done;
    })
}

/// Returns the last step, which is the result.
///
/// # Errors
/// That of the work.
pub(in crate::http) async fn last<E>(steps: Steps<E>) -> error::Result<Option<E>> {
    steps.try_fold(None, async |_, step| Ok(Some(step))).await
}

/// Sends each step as an event. A failure before the first step for which `has_begun` is true is an ordinary error,
/// unless that step takes long. The work stops when the client disconnects. `again` is the advice to give when the
/// server shuts down.
pub(in crate::http) async fn respond<E: Serialize + Send + 'static>(
    state: Arc<HttpState>,
    caller: Caller,
    mut steps: Steps<E>,
    has_begun: fn(&E) -> bool,
    again: &'static str,
) -> Result<Response> {
    let mut first = Vec::new();
    let beginning = async {
        while let Some(step) = steps.next().await {
            first.push(step?);
            if first.last().is_some_and(has_begun) {
                break;
            }
        }
        Ok(())
    };
    if let Ok(Err(error)) = timeout(state.streams.headers_after, beginning).await {
        return Err(Error::into(error));
    }
    let errors = route::find(caller.endpoint).map_or(ErrorFormat::Problem, |(_, errors)| errors);
    Ok(errors.framing().response(events(state, caller, first, steps, Ending { errors, again })))
}

/// How a failure is written, and the advice to give when the server shuts down.
struct Ending {
    errors: ErrorFormat,
    again: &'static str,
}

fn events<E: Serialize>(
    state: Arc<HttpState>,
    caller: Caller,
    first: Vec<E>,
    mut steps: Steps<E>,
    Ending { errors, again }: Ending,
) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    stream! {
        let mut frames = Frames::new(errors.framing());
        for step in first {
            frames.data(&step);
        }
        loop {
            if !frames.is_empty() {
                yield Ok(frames.take());
            }
            let next = tokio::select! {
                () = state.cutoff.cancelled() => Some(Err(shutting_down(again))),
                next = timeout(state.streams.ping_every, steps.next()) => match next {
                    Ok(next) => next,
                    Err(_) => {
                        frames.ping();
                        continue;
                    }
                },
            };
            match next {
                Some(Ok(step)) => frames.data(&step),
                Some(Err(error)) => {
                    caller.recorder.failed(&error);
                    frames.named("error", &errors.write(&error, caller.recorder.request_id()));
                    yield Ok(frames.take());
                    return;
                }
                None => return,
            }
        }
    }
}

fn shutting_down(again: &str) -> Error {
    Error::new(Kind::ShuttingDown, format!("The server is shutting down; {again}."))
}

//! A reply in progress, as a log that can be read from its beginning while it grows. A second identical request
//! joins it. The work behind it continues while there are readers, and is stopped when the last one leaves.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{
    error::{Error, Result},
    types::ChatEvent,
};

pub(super) struct InFlight<S> {
    state: Mutex<State<S>>,
    abandoned: CancellationToken,
}

struct State<S> {
    /// Where the reply comes from, once that is known.
    source: Option<S>,
    events: Vec<ChatEvent>,
    end: Option<Result<()>>,
    readers: usize,
    waiting: Vec<Waker>,
}

/// One reader of a flight, from its first event on.
pub(super) struct Reader<S> {
    reply: Arc<InFlight<S>>,
    at: usize,
    ended: bool,
}

impl<S: Clone> InFlight<S> {
    /// A new flight and its first reader.
    pub(super) fn new() -> (Arc<Self>, Reader<S>) {
        let state = State { source: None, events: Vec::new(), end: None, readers: 1, waiting: Vec::new() };
        let reply = Arc::new(Self { state: Mutex::new(state), abandoned: CancellationToken::new() });
        let reader = Reader { reply: Arc::clone(&reply), at: 0, ended: false };
        (reply, reader)
    }

    /// Adds a reader; none when the reply has failed or all readers have left.
    pub(super) fn join(self: &Arc<Self>) -> Option<Reader<S>> {
        let mut state = self.state();
        let over = matches!(state.end, Some(Err(_))) || state.readers == 0 && state.end.is_none();
        (!over).then(|| {
            state.readers += 1;
            Reader { reply: Arc::clone(self), at: 0, ended: false }
        })
    }

    /// Completes when the last reader has left before the end.
    pub(super) fn abandoned(&self) -> WaitForCancellationFuture<'_> {
        self.abandoned.cancelled()
    }

    pub(super) fn begin(&self, source: S) {
        self.change(|state| state.source = Some(source));
    }

    pub(super) fn push(&self, event: ChatEvent) {
        self.change(|state| state.events.push(event));
    }

    pub(super) fn end(&self, end: Result<()>) {
        self.change(|state| state.end = Some(end));
    }

    /// Ends it with an error when it has not been ended.
    pub(super) fn end_if_open(&self, error: impl FnOnce() -> Error) {
        self.change(|state| {
            state.end.get_or_insert_with(|| Err(error()));
        });
    }

    /// Returns the events so far.
    pub(super) fn events(&self) -> Vec<ChatEvent> {
        self.state().events.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State<S>)) {
        let waiting = {
            let mut state = self.state();
            change(&mut state);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Reader<S> {
    /// Where the reply comes from, as soon as that is known.
    ///
    /// # Errors
    /// The flight's, when it fails before that.
    pub(super) async fn source(&self) -> Result<S> {
        std::future::poll_fn(|cx| {
            let mut state = self.reply.state();
            match (&state.source, &state.end) {
                (Some(source), _) => Poll::Ready(Ok(source.clone())),
                (None, Some(Err(error))) => Poll::Ready(Err(error.clone())),
                (None, _) => {
                    state.wait(cx);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<S> State<S> {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }
}

impl<S> Stream for Reader<S> {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let reply = Arc::clone(&self.reply);
        let mut state = reply.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = state.events.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(event.clone())));
        }
        match &state.end {
            None => {
                state.wait(cx);
                Poll::Pending
            }
            Some(end) => {
                self.ended = true;
                Poll::Ready(end.as_ref().err().map(|error: &Error| Err(error.clone())))
            }
        }
    }
}

impl<S> Drop for Reader<S> {
    fn drop(&mut self) {
        let mut state = self.reply.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers -= 1;
        if state.readers == 0 && state.end.is_none() {
            self.reply.abandoned.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::{error::Kind, types::Done};

    fn text(text: &str) -> ChatEvent {
        ChatEvent::Text(text.to_owned())
    }

    #[tokio::test]
    async fn whoever_joins_reads_from_the_beginning() {
        let (reply, first) = InFlight::new();
        reply.begin(7);
        reply.push(text("a"));
        let late = reply.join().expect("it runs");
        assert_eq!((first.source().await.ok(), late.source().await.ok()), (Some(7), Some(7)));
        let readers =
            tokio::spawn(async { (first.collect::<Vec<_>>().await, late.collect::<Vec<_>>().await) });
        reply.push(text("b"));
        reply.push(ChatEvent::from(Done::default()));
        reply.end(Ok(()));
        let (first, late) = readers.await.expect("they end");
        let texts = |events: &[Result<ChatEvent>]| {
            events.iter().filter_map(|e| e.as_ref().ok().cloned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&first), [text("a"), text("b"), ChatEvent::from(Done::default())]);
        assert_eq!(texts(&first), texts(&late));
        let after = reply.join().expect("a complete log can be read").collect::<Vec<_>>().await;
        assert_eq!(after.len(), 3);
    }

    #[tokio::test]
    async fn an_error_reaches_everybody_and_ends_it() {
        let (reply, first) = InFlight::<()>::new();
        let second = reply.join().expect("it runs");
        reply.end(Err(Error::new(Kind::BadGateway, "no")));
        assert!(first.source().await.is_err());
        let seen = second.collect::<Vec<_>>().await;
        assert!(matches!(&seen[..], [Err(error)] if error.kind() == Kind::BadGateway));
        assert!(reply.join().is_none(), "nobody joins a failure");
    }

    #[tokio::test]
    async fn the_last_one_to_leave_stops_the_work() {
        let (reply, first) = InFlight::<()>::new();
        let second = reply.join().expect("it runs");
        drop(first);
        assert!(!reply.abandoned.is_cancelled());
        drop(second);
        reply.abandoned().await;
        assert!(reply.join().is_none(), "and nobody joins what is being stopped");
    }
}

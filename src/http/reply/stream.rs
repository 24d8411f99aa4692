//! A reply as a stream: what has arrived together leaves together, and silences are broken.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::{
    Frames, ReplyEncoder, mark,
    silence::{Interruption, Silence},
};
use crate::{
    app::{ChatReply, incomplete},
    cache::Events,
    error::{self, Error},
    http::{
        HttpState,
        middleware::errors::{Result, shutting_down},
    },
    telemetry::recorder::RequestRecorder,
    types::ChatEvent,
};

pub(in crate::http) async fn respond<R>(
    state: &HttpState,
    recorder: Arc<RequestRecorder>,
    reply: R,
    encoder: Box<dyn ReplyEncoder>,
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
    let (begun, cache_status) = match timeout(state.streams.headers_after, &mut begin).await {
        Ok(begun) => {
            let begun = begun?;
            let cache_status = begun.0.cache_status.clone();
            (Some(begun), Some(cache_status))
        }
        Err(_) => (None, None),
    };
    let silence = Silence::new(state.streams.ping_every, state.cutoff.clone());
    let framing = encoder.framing();
    let (source, out) = (Source::Waiting(begin), Frames::new(framing));
    let unfinished = encoder.choices();
    let mut body = StreamBody { source, encoder, recorder, silence, out, unfinished, ended: false };
    match begun {
        Some((reply, first)) => {
            body.begin(reply);
            body.write(Some(Ok(first)));
        }
        None => body.ping(),
    }
    let mut response = framing.response(body);
    if let Some(cache_status) = cache_status {
        mark(response.headers_mut(), &cache_status);
    }
    Ok(response)
}

/// The reply with its first event.
type Beginning = Pin<Box<dyn Future<Output = error::Result<(ChatReply, ChatEvent)>> + Send>>;

enum Source {
    Waiting(Beginning),
    Begun(Events),
}

/// Events as they arrive; those that have arrived together leave together.
struct StreamBody {
    source: Source,
    encoder: Box<dyn ReplyEncoder>,
    recorder: Arc<RequestRecorder>,
    silence: Silence,
    /// Bytes that are sent next.
    out: Frames,
    /// Answers whose end is still to come.
    unfinished: usize,
    ended: bool,
}

/// Size at which a piece of the body is passed on.
const CHUNK_BYTES: usize = 16 * 1024;

impl StreamBody {
    fn begin(&mut self, reply: ChatReply) {
        self.encoder.begin(&reply.model, &mut self.out);
        self.source = Source::Begun(reply.events);
    }

    fn write(&mut self, event: Option<error::Result<ChatEvent>>) {
        match event {
            Some(Ok(ChatEvent::Done(done))) => {
                self.unfinished -= 1;
                self.ended = self.unfinished == 0;
                self.encoder.end(&done, &mut self.out);
            }
            Some(Ok(event)) => self.encoder.event(&event, &mut self.out),
            Some(Err(error)) => self.fail(&error),
            None => self.fail(&incomplete()),
        }
    }

    fn ping(&mut self) {
        self.encoder.ping(&mut self.out);
    }

    fn fail(&mut self, error: &Error) {
        self.ended = true;
        self.recorder.failed(error);
        self.encoder.error(error, self.recorder.request_id(), &mut self.out);
    }

    /// The next event, if it is there.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<error::Result<ChatEvent>>> {
        match &mut self.source {
            Source::Begun(events) => events.as_mut().poll_next(cx),
            Source::Waiting(begin) => {
                let begun = ready!(begin.as_mut().poll(cx));
                Poll::Ready(Some(begun.map(|(reply, first)| {
                    self.begin(reply);
                    first
                })))
            }
        }
    }
}

impl Stream for StreamBody {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended && self.out.len() < CHUNK_BYTES {
            match self.poll_event(cx) {
                Poll::Ready(event) => self.write(event),
                Poll::Pending if !self.out.is_empty() => break,
                Poll::Pending => match ready!(self.silence.poll(cx)) {
                    Interruption::Ping => self.ping(),
                    Interruption::Cutoff => self.fail(&shutting_down()),
                },
            }
        }
        if self.out.is_empty() {
            return Poll::Ready(None);
        }
        self.silence.broken();
        Poll::Ready(Some(Ok(self.out.take())))
    }
}

//! One HTTP/1.1 connection, driven by whoever waits for its answer. hyper's usual way is a task for
//! each connection, which hands every chunk of a body over to the task that wants it: two wakeups
//! for each token, and threads woken to steal what is already being done.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client::conn::http1::{Connection, SendRequest, handshake},
    rt::{Read, Write},
};

use super::turns::Turns;

pub(super) trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection and the right to send on it.
pub(super) struct Exchange {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    connection: Option<Connection<Box<dyn Io>, Full<Bytes>>>,
    turns: Turns,
    /// How the body ended behind what was given of it last.
    end: Option<End>,
}

/// `None` is a proper end.
type End = Option<hyper::Error>;

/// Beyond this many bytes, what has arrived is passed on before more is read.
const ENOUGH: usize = 64 * 1024;

/// Room that a read begins with: that of a short reply or some tokens.
const READ: usize = 4 * 1024;

/// Why nothing came back.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, when nothing of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
}

impl Exchange {
    pub(super) async fn new(io: Box<dyn Io>) -> hyper::Result<Self> {
        let (sender, connection) = handshake(io).await?;
        Ok(Self { sender, connection: Some(connection), turns: Turns::new(), end: None })
    }

    /// Whether the other side still listens, as far as can be seen without asking.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let usable = self.connection.as_mut().is_some_and(|c| Pin::new(c).poll(&mut nobody).is_pending());
        usable && self.sender.is_ready()
    }

    /// Sends the request and gives the answer's head. Its body is read by `frame`.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Box<Failed>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let Self { connection, turns, .. } = self;
        std::future::poll_fn(|cx| drive(connection, turns, cx, |cx| answer.as_mut().poll(cx))).await.map_err(
            |mut error| {
                let unsent = error.take_message();
                Box::new(Failed { error: error.into_error(), unsent })
            },
        )
    }

    /// What has arrived of a body since the last time, `None` at its proper end. Chunks that have come
    /// together are given together: a short reply is often there whole, in a chunk for each token.
    pub(super) async fn data(&mut self, body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
        let Self { connection, turns, end, .. } = self;
        let mut data = Vec::with_capacity(READ);
        if end.is_none() {
            std::future::poll_fn(|cx| {
                let all = drive(connection, turns, cx, |cx| read(body, &mut data, cx));
                match all {
                    Poll::Ready(ended) => *end = ended,
                    Poll::Pending if data.is_empty() => return Poll::Pending,
                    Poll::Pending => {}
                }
                Poll::Ready(())
            })
            .await;
        }
        if data.is_empty() { end.take()?.map(Err) } else { Some(Ok(data.into())) }
    }
}

/// Appends to `data` until there is nothing more, or enough; then gives the body's end, if it is there.
fn read(body: &mut Incoming, data: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<End>> {
    while data.len() < ENOUGH {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            // Trailers have no data.
            Some(Ok(frame)) => data.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            end => return Poll::Ready(Some(end.and_then(Result::err))),
        }
    }
    Poll::Ready(None)
}

/// Polls both what is wanted and the connection that brings it, until one of them waits for the
/// network.
fn drive<T>(
    connection: &mut Option<Connection<Box<dyn Io>, Full<Bytes>>>,
    turns: &Turns,
    cx: &mut Context<'_>,
    mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    turns.take(cx, |cx| {
        if let Poll::Ready(value) = wanted(cx) {
            return Poll::Ready(value);
        }
        if let Some(open) = connection
            && Pin::new(open).poll(cx).is_ready()
        {
            // Its error, if any, has been given to what is wanted.
            *connection = None;
            return wanted(cx);
        }
        Poll::Pending
    })
}

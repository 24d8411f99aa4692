//! One HTTP/1.1 connection, driven by whoever waits for its answer. hyper's usual way is a task for
//! each connection, which hands every chunk of a body over to the task that wants it: two wakeups
//! for each token, and threads woken to steal what is already being done.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client::conn::http1::{Connection, SendRequest, handshake},
    rt::{Read, Write},
};

use crate::turns::Turns;

pub(super) trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection and the right to send on it.
pub(super) struct Exchange {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    connection: Option<Connection<Box<dyn Io>, Full<Bytes>>>,
    turns: Turns,
}

/// Why nothing came back.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, when nothing of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
}

impl Exchange {
    pub(super) async fn new(io: Box<dyn Io>) -> hyper::Result<Self> {
        let (sender, connection) = handshake(io).await?;
        Ok(Self { sender, connection: Some(connection), turns: Turns::new() })
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

    /// The next part of a body, `None` at its proper end.
    pub(super) async fn data(&mut self, body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
        let Self { connection, turns, .. } = self;
        loop {
            let mut step = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
            let frame = std::future::poll_fn(|cx| drive(connection, turns, cx, &mut step)).await?;
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
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

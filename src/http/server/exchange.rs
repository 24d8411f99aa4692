//! A request and its reply, whose bodies tell the connection how far they are.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::http::{Request, Response, Version, header};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connection::Connection;
use crate::http::reply::probe;

/// Notes that a request has come, and gives it with a body that is noted as it is read.
pub(in crate::http) fn begin<B: Body>(
    request: Request<B>,
    connection: &Arc<Connection>,
) -> Request<RequestBody<B>> {
    let has_body = !request.body().is_end_stream();
    let interim = request.version() == Version::HTTP_11;
    let head = if connection.is_counted() { length_of_head(&request) } else { 0 };
    connection.request_began(head, has_body, interim);
    request.map(|body| RequestBody { body, connection: Arc::clone(connection) })
}

/// Bytes of the head, spaces that do not matter left out.
fn length_of_head<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let line = request.method().as_str().len()
        + uri.authority().map_or(0, |authority| authority.as_str().len() + "http://".len())
        + uri.path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + headers.sum::<usize>() + "  HTTP/1.1\r\n\r\n".len()
}

pub(in crate::http) struct RequestBody<B> {
    body: B,
    connection: Arc<Connection>,
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.connection.body_ended();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.connection.consumed(data.len());
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.connection.body_ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The reply's body, which has ended when it is dropped.
pub(in crate::http) struct ReplyBody<B> {
    body: B,
    /// Bytes that a stream can send at any time, for its client to skip.
    probe: Option<&'static [u8]>,
    connection: Arc<Connection>,
}

/// Notes that a reply begins, and gives it with a body that is noted when it ends.
pub(in crate::http) fn reply<B>(
    response: Response<B>,
    connection: Arc<Connection>,
) -> Response<ReplyBody<B>> {
    connection.reply_began();
    let probe = response.headers().get(header::CONTENT_TYPE).and_then(|value| probe(value.to_str().ok()?));
    response.map(|body| ReplyBody { body, probe, connection })
}

impl<B> Drop for ReplyBody<B> {
    fn drop(&mut self) {
        self.connection.reply_ended();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(probe) = self.probe
            && self.connection.was_asked()
        {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(probe)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! A client's socket as hyper reads and writes it. It counts what is read, notes when a client does
//! not read, and tells a client that has only ended its side from one that has left
//! (docs/adr/0023).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::{connection::Phase, connections::Place};

/// Time in which the end of a body that has come is noticed.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// Time that a reply may take after its client has ended its side, before the client is asked
/// whether it is there.
const QUESTION_AFTER: Duration = Duration::from_secs(5);
/// Time after which a client that has left has been noticed.
const ANSWER_AFTER: Duration = Duration::from_millis(500);
/// Time between two questions.
const QUESTION_EVERY: Duration = Duration::from_secs(15);
/// An interim response that every client of HTTP/1.1 passes over (RFC 9110, 15.2.1). The system of
/// a client that has left answers it with a reset.
const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Time for which the body of a refused request is read and discarded.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

pub(in crate::http) struct Socket {
    stream: TcpStream,
    place: std::sync::Arc<Place>,
    half_closed: Option<HalfClosed>,
    linger: Option<Pin<Box<Sleep>>>,
}

/// The client has ended its side while its request was being served.
struct HalfClosed {
    step: Step,
    due: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy)]
enum Step {
    /// Find out whether the request is whole.
    Settle,
    /// Send something that the system of a client that has left refuses.
    Ask,
    /// See whether it was refused.
    Check,
}

impl Socket {
    pub(in crate::http) fn new(stream: TcpStream, place: std::sync::Arc<Place>) -> Self {
        Self { stream, place, half_closed: None, linger: None }
    }

    /// Completes when the client's end is to be told: its request was served, or is not whole, or it
    /// has left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(half_closed) = &mut self.half_closed else { return Poll::Ready(Ok(())) };
        let connection = &self.place.connection;
        loop {
            let phase = connection.phase();
            if phase == Phase::Idle {
                return Poll::Ready(Ok(()));
            }
            ready!(half_closed.due.as_mut().poll(cx));
            let (next, after) = match (half_closed.step, phase) {
                (_, Phase::Receiving) => return Poll::Ready(Ok(())),
                (Step::Settle, Phase::Answering) => (Step::Ask, QUESTION_AFTER),
                (Step::Ask, Phase::Answering) if !connection.understands_interim() => {
                    return Poll::Ready(Ok(()));
                }
                (Step::Ask, Phase::Answering) => {
                    // The system's buffer is empty: it takes these few bytes, or the client has left.
                    self.stream.try_write(QUESTION)?;
                    (Step::Check, ANSWER_AFTER)
                }
                (Step::Settle | Step::Ask, _) => {
                    connection.ask();
                    (Step::Check, ANSWER_AFTER)
                }
                (Step::Check, _) => match self.stream.take_error()? {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => (Step::Ask, QUESTION_EVERY),
                },
            };
            half_closed.step = next;
            half_closed.due.as_mut().reset(Instant::now() + after);
        }
    }

    /// A client that is still sending when its head is refused sees why: a connection that is closed
    /// with bytes unread is reset.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.linger.get_or_insert_with(|| Box::pin(sleep(DRAIN_TIMEOUT)));
        let mut thrown_away = [0; 4096];
        while end.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }

    fn written<T>(&self, written: Poll<T>) -> Poll<T> {
        self.place.connection.written(written.is_pending());
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.half_closed.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let read = buffer.filled().len() - before;
            if read > 0 {
                self.place.received(read);
                return Poll::Ready(Ok(()));
            }
            self.place.connection.input_ended();
            self.half_closed = Some(HalfClosed { step: Step::Settle, due: Box::pin(sleep(SETTLED_AFTER)) });
        }
        self.poll_left(cx)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.place.connection.holds_unread() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

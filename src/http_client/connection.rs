//! An HTTP/1.1 connection, driven by the task that waits for its response: hyper's client needs a task for each
//! connection, and delivers each chunk of a body by itself, which is one for each token (docs/adr/0013 and
//! 0015).

use std::{
    future::poll_fn,
    io,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use reqwest::header::HeaderValue;
use rustix::net::{RecvFlags, recv};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::{
    either::Either,
    io::{poll_read_buf, poll_write_buf},
};

use super::{
    message::{Body, Head, request_head},
    request::Request,
};

/// Buffer for each read: enough for a short reply, or many tokens.
const READ_BYTES: usize = 16 * 1024;

/// Limit in bytes of a head, and of the bytes between two chunks.
const MAX_HEAD: usize = 64 * 1024;

pub(super) struct Connection {
    io: Either<TcpStream, UnixStream>,
    /// Read, but not parsed yet.
    arrived: BytesMut,
    /// Remaining body of the response that is being read.
    body: Option<Body>,
    /// Whether another request may follow.
    is_reusable: bool,
    /// Whether any byte has arrived since the last request.
    has_answered: bool,
}

/// A serialised request.
pub(super) struct Outgoing {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Outgoing {
    /// Serialises a request other than HEAD, whose response would announce a body that never comes.
    ///
    /// # Errors
    /// `InvalidInput` when the path has invalid characters.
    pub(super) fn new(request: Request<'_>, host: &HeaderValue) -> io::Result<Self> {
        let Request { method, path, headers, body, retry: _ } = request;
        Ok(Self { head: request_head(&method, path, host, &headers, body.len())?, body })
    }
}

impl Connection {
    pub(super) fn new(io: Either<TcpStream, UnixStream>) -> Self {
        Self { io, arrived: BytesMut::new(), body: None, is_reusable: true, has_answered: false }
    }

    /// Whether another request may follow, according to the last response.
    pub(super) fn is_reusable(&self) -> bool {
        self.is_reusable && self.body.is_none() && self.arrived.is_empty()
    }

    /// Whether nothing has arrived since the last response, not even the end of the stream. Asks the kernel,
    /// because the runtime only learns of it when it polls.
    pub(super) fn is_quiet(&self) -> bool {
        let socket = match &self.io {
            Either::Left(tcp) => tcp.as_fd(),
            Either::Right(unix) => unix.as_fd(),
        };
        let looked = recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(looked, Err(rustix::io::Errno::AGAIN))
    }

    /// Whether the server closed the connection before any byte of its response.
    pub(super) fn was_closed(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let closed = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        closed && !self.has_answered
    }

    /// Sends the request and returns the response's status. `data` reads its body.
    pub(super) async fn send(&mut self, request: &Outgoing) -> io::Result<u16> {
        self.has_answered = false;
        let mut out = request.head.chain(&*request.body);
        let head = poll_fn(|cx| self.poll_send(cx, &mut out)).await?;
        self.is_reusable &= !out.has_remaining() && head.is_reusable;
        self.body = Some(head.body);
        Ok(head.status)
    }

    /// Sends `out` until the head of a response arrives: a server that refuses a request often does so before
    /// it has read all of it, and then closes.
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut impl Buf) -> Poll<io::Result<Head>> {
        loop {
            while self.is_reusable && out.has_remaining() {
                match poll_write_buf(Pin::new(&mut self.io), cx, out) {
                    Poll::Ready(Ok(1..)) => {}
                    // There may be a response with the reason.
                    Poll::Ready(Ok(0) | Err(_)) => self.is_reusable = false,
                    Poll::Pending => break,
                }
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.has_answered = true;
            while let Some((length, head)) = Head::parse(&self.arrived)? {
                self.arrived.advance(length);
                match head.status {
                    101 => {
                        return Poll::Ready(Err(invalid("an upgrade to a protocol that was not requested")));
                    }
                    // The final response follows.
                    100..=199 => {}
                    _ => return Poll::Ready(Ok(head)),
                }
            }
        }
    }

    /// Reads the bytes of the body that have arrived, `None` at its proper end. Chunks that have arrived
    /// together are returned together.
    pub(super) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while let Some(body) = &mut self.body {
            let data = body.take(&mut self.arrived)?;
            if body.is_over() {
                self.body = None;
            }
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
            if self.body.is_some() && ready!(self.poll_fill(cx))? == 0 {
                self.is_reusable = false;
                if !matches!(self.body.take(), Some(Body::UntilClosed)) {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Reads what has arrived; 0 when the server has closed the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.arrived.len() > MAX_HEAD {
            return Poll::Ready(Err(invalid("headers of more than 64 kB")));
        }
        self.arrived.reserve(READ_BYTES);
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.arrived)
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::http_client::Retry;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        (Connection::new(Either::Right(ours)), theirs)
    }

    fn question(body: &'static [u8]) -> Outgoing {
        let host = HeaderValue::from_static("ollama");
        Outgoing::new(Request::post("/api/chat", body.to_vec(), Retry::Never), &host).expect("a request")
    }

    /// Returns the response's status and whole body, and whether the connection can be reused.
    async fn ask(connection: &mut Connection, body: &'static [u8]) -> io::Result<(u16, String, bool)> {
        let status = connection.send(&question(body)).await?;
        let mut whole = Vec::new();
        while let Some(data) = connection.data().await? {
            whole.extend_from_slice(&data);
        }
        Ok((status, String::from_utf8_lossy(&whole).into_owned(), connection.is_reusable()))
    }

    /// Reads a response that arrives in pieces of `size`, and its end when `closed`.
    async fn answered(answer: &[u8], size: usize, closed: bool) -> io::Result<(u16, String, bool)> {
        let (mut connection, mut server) = pair();
        let serve = async {
            for piece in answer.chunks(size) {
                server.write_all(piece).await.expect("a reader");
                tokio::task::yield_now().await;
            }
            if closed {
                server.shutdown().await.expect("an open socket");
            }
        };
        tokio::join!(ask(&mut connection, b"?"), serve).0
    }

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nThe\r\n4;a=b\r\n fox\r\n0\r\nx-more: 1\r\n\r\n";

    #[tokio::test]
    async fn every_kind_of_body_is_read_to_its_end() {
        let cases: [(&[u8], bool, u16, &str, bool); 8] = [
            (CHUNKED, false, 200, "The fox", true),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nfox", false, 200, "fox", true),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, 404, "", true),
            (b"HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", true),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!",
                false,
                200,
                "!",
                true,
            ),
            (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n!", false, 200, "!", false),
            (b"HTTP/1.1 200 OK\r\n\r\nto the end", true, 200, "to the end", false),
            (b"HTTP/1.1 307 Elsewhere\r\nlocation: /b\r\ncontent-length: 1\r\n\r\n!", false, 307, "!", true),
        ];
        for (answer, closed, status, body, usable) in cases {
            for size in [1, 7, answer.len()] {
                let told = String::from_utf8_lossy(answer);
                let found = answered(answer, size, closed).await.expect("an answer");
                assert_eq!(found, (status, body.to_owned(), usable), "{told}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_anywhere_is_an_error() {
        for cut in 0..CHUNKED.len() {
            let error = answered(&CHUNKED[..cut], 64, true).await.expect_err("half an answer");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "after {cut} bytes");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        let endless_head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'x'; 2 * MAX_HEAD]].concat();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice();
        let endless_size = [head, &[b'0'; 2 * MAX_HEAD]].concat();
        let garbage: [&[u8]; 5] = [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nThe\r\n",
            &endless_head,
            &endless_size,
        ];
        for answer in garbage {
            let (mut connection, mut server) = pair();
            // The client stops reading after an error.
            let serve = async { drop(server.write_all(answer).await) };
            let asked = async {
                let asked = ask(&mut connection, b"?").await;
                drop(connection);
                asked
            };
            let error = tokio::join!(asked, serve).0.expect_err("no HTTP");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_heard_while_the_body_is_still_being_sent() {
        static BODY: [u8; 4_000_000] = [b' '; 4_000_000];
        let (mut connection, mut server) = pair();
        let serve = async {
            let refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
            server.write_all(refusal).await.expect("a reader");
        };
        let (asked, ()) = tokio::join!(ask(&mut connection, &BODY), serve);
        assert_eq!(asked.expect("an answer"), (413, "no".to_owned(), false));
    }

    #[tokio::test]
    async fn sending_goes_on_when_the_server_says_go_on() {
        static BODY: [u8; 4_000_000] = [b' '; 4_000_000];
        let (mut connection, mut server) = pair();
        let serve = async {
            server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.expect("a reader");
            let whole = question(&BODY).head.len() + BODY.len();
            server.read_exact(&mut vec![0; whole]).await.expect("the whole request");
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("a reader");
        };
        let (asked, ()) = tokio::join!(ask(&mut connection, &BODY), serve);
        assert_eq!(asked.expect("an answer"), (200, "hi".to_owned(), true));
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_one_connection() {
        let (mut connection, mut server) = pair();
        for _ in 0..2 {
            let serve = async {
                let mut asked = vec![0; 256];
                let length = server.read(&mut asked).await.expect("a request");
                server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.expect("a reader");
                String::from_utf8_lossy(&asked[..length]).into_owned()
            };
            assert!(connection.is_quiet());
            let (answer, asked) = tokio::join!(ask(&mut connection, b"{}"), serve);
            assert_eq!(answer.expect("an answer"), (200, "hi".to_owned(), true));
            let head = "POST /api/chat HTTP/1.1\r\nhost: ollama\r\ncontent-type: application/json\r\n";
            assert_eq!(asked, format!("{head}content-length: 2\r\n\r\n{{}}"));
        }
        server.write_all(b"HTTP/1.1 200 OK\r\n").await.expect("a reader");
        assert!(!connection.is_quiet(), "an answer that nobody asked for");
    }

    #[tokio::test]
    async fn a_connection_that_closes_is_told_from_one_that_breaks_an_answer() {
        for (said, closed) in [("", true), ("HTTP/1.1 100 Continue\r\n\r\n", false), ("HTTP/1.1 20", false)] {
            let (mut connection, mut server) = pair();
            let serve = async {
                server.write_all(said.as_bytes()).await.expect("a reader");
                drop(server);
            };
            let question = question(b"{}");
            let (asked, ()) = tokio::join!(connection.send(&question), serve);
            assert_eq!(connection.was_closed(&asked.expect_err("no answer")), closed, "{said}");
            assert!(!connection.is_quiet());
        }
    }
}

//! Ollama's side of a connection, for tests and benchmarks: reads requests and leaves the answers to
//! an `Answers`. It speaks raw HTTP/1.1, so that an answer can also break it.

pub mod lines;
pub mod scripted;

use std::sync::Arc;

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

/// A request, as it came.
pub struct Request<'a> {
    pub head: &'a str,
    pub body: &'a [u8],
}

impl Request<'_> {
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// Answers to the requests of any number of connections.
pub trait Answers: Send + Sync + 'static {
    /// Called for each new connection.
    fn connected(&self) {}

    /// Answers one request; `before` is how many its connection has had. False ends the connection.
    fn answer(
        &self,
        stream: &mut TcpStream,
        request: &Request<'_>,
        before: usize,
    ) -> impl Future<Output = bool> + Send;
}

/// Accepts connections until it is dropped.
pub async fn serve(listener: TcpListener, answers: Arc<impl Answers>) {
    while let Ok((stream, _)) = listener.accept().await {
        let answers = Arc::clone(&answers);
        answers.connected();
        tokio::spawn(async move { converse(stream, &*answers).await });
    }
}

async fn converse(mut stream: TcpStream, answers: &impl Answers) {
    // Without it only the timing of small pieces differs.
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 * 1024);
    for before in 0.. {
        let Some((head, length)) = read_request(&mut stream, &mut buffer).await else { return };
        let Ok(text) = str::from_utf8(&buffer[..head]) else { return };
        let request = Request { head: text, body: &buffer[head + 4..length] };
        if !answers.answer(&mut stream, &request, before).await {
            return;
        }
        buffer.drain(..length);
    }
}

/// Lengths of the head and of the whole of the next request, which is at the start of `buffer`; `None`
/// when the connection has ended.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(usize, usize)> {
    loop {
        if let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let lower = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let body =
                lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length = head + 4 + body.unwrap_or(0);
            if buffer.len() >= length {
                return Some((head, length));
            }
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

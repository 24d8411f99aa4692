//! A scripted server: it answers as told, also wrongly.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::Model;

#[derive(Clone, Debug)]
pub struct Request {
    /// With its query.
    pub path: String,
    head: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|it| it.eq_ignore_ascii_case(name));
        self.head.lines().find(named).map(|line| line.split_once(':').unwrap().1.trim())
    }

    /// First and last byte that are asked for.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (start, end) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()?))
    }
}

pub enum Reply {
    /// A whole response, with a header line or more.
    Whole(u16, String, Vec<u8>),
    /// A head, and then nothing.
    Hang(&'static str),
    /// A body of which a byte comes now and then.
    Drip(usize),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
}

impl Reply {
    pub fn json(body: &serde_json::Value) -> Self {
        Self::Whole(200, "content-type: application/json".to_owned(), body.to_string().into_bytes())
    }

    pub fn status(status: u16) -> Self {
        Self::Whole(status, "x-empty: 1".to_owned(), Vec::new())
    }

    pub fn redirect(to: &str) -> Self {
        Self::Whole(307, format!("location: {to}"), Vec::new())
    }

    /// A file, or the range of it that is asked for.
    pub fn file(request: &Request, bytes: &[u8]) -> Self {
        match request.range() {
            None => Self::Whole(200, "content-type: application/octet-stream".to_owned(), bytes.to_vec()),
            Some((start, end)) => {
                let range = format!("content-range: bytes {start}-{end}/{}", bytes.len());
                Self::Whole(206, range, bytes[start..=end].to_vec())
            }
        }
    }
}

pub struct Scripted {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    pub async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, answer) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(answer));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move { converse(stream, &seen, &*answer).await });
            }
        });
        Self { address, requests }
    }

    /// A registry with one model, under every name; `blob` answers for its blobs.
    pub async fn registry(
        model: Model,
        blob: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request| match request.path.rsplit_once("/blobs/") {
            Some((_, digest)) => blob(request, model.blob(digest).unwrap()),
            None => Reply::json(&model.manifest()),
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn converse(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Reply + Sync),
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
        let request = Request { path: head.split(' ').nth(1).unwrap().to_owned(), head };
        seen.lock().unwrap().push(request.clone());
        if send(&mut stream, answer(&request)).await.is_none() {
            return;
        }
    }
}

/// `None` when the connection is to end.
async fn send(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    match reply {
        Reply::Whole(status, headers, body) => {
            let head = format!("HTTP/1.1 {status} X\r\n{headers}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()
        }
        Reply::Hang(head) => {
            stream.write_all(head.as_bytes()).await.ok()?;
            // Until the other side gives up.
            stream.read_u8().await.ok()?;
            None
        }
        Reply::Drip(length) => {
            let head = format!("HTTP/1.1 206 X\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Reply::Raw(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            None
        }
    }
}

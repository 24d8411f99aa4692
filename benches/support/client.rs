//! A load generator's HTTP client: one kept-alive connection, one request at a time, and no more
//! parsing than finding the end of the reply. It shares the machine with what it measures.

use std::{net::SocketAddr, path::PathBuf, str, time::Instant};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use super::Result;

#[derive(Clone)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Address {
    fn from(socket: PathBuf) -> Self {
        Self::Unix(socket)
    }
}

/// One place to send a request to, and the bytes of that request.
#[derive(Clone)]
pub struct Target {
    pub name: &'static str,
    pub address: Address,
    pub request: Vec<u8>,
}

impl Target {
    /// `headers` are whole lines.
    pub fn post(
        name: &'static str,
        address: impl Into<Address>,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Self {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        Self { name, address: address.into(), request: request.into_bytes() }
    }

    /// A file as curl sends it with `-F file=@NAME`, after other fields of a form. `headers` are whole lines.
    pub fn upload(
        address: impl Into<Address>,
        path: &str,
        headers: &str,
        (file, content): (&str, &[u8]),
        fields: &[(&str, &str)],
    ) -> Self {
        let mut body = Vec::new();
        for (field, value) in fields {
            let part =
                format!("--boundary\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--boundary\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--boundary--\r\n");
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=boundary\r\n{headers}content-length: {length}\r\n\r\n"
        );
        Self { name: "upload", address: address.into(), request: [head.into_bytes(), body].concat() }
    }

    /// `headers` are whole lines.
    pub fn get(name: &'static str, address: impl Into<Address>, path: &str, headers: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        Self { name, address: address.into(), request: request.into_bytes() }
    }
}

pub struct Connection {
    address: Address,
    stream: Box<dyn Stream>,
    /// Answered on this stream.
    calls: usize,
    buffer: Vec<u8>,
    /// Whether a reply with another status than 200 is one.
    any_status: bool,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Asks the same again and again on one connection until `end`; gives how many answers came.
pub async fn ask_until(target: &Target, end: Instant) -> Result<usize> {
    Connection::open(&target.address).await?.ask_until(&target.request, end).await
}

enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    pub async fn open(address: &Address) -> Result<Self> {
        let (address, stream) = (address.clone(), connect(address).await?);
        Ok(Self { address, stream, calls: 0, buffer: Vec::with_capacity(64 * 1024), any_status: false })
    }

    /// The same for requests that are to be refused.
    pub async fn open_for_refusals(address: &Address) -> Result<Self> {
        Ok(Self { any_status: true, ..Self::open(address).await? })
    }

    /// Sends a request and gives the whole reply, head and body as they came.
    pub async fn call(&mut self, request: &[u8]) -> Result<&[u8]> {
        let answered = self.attempt(request).await;
        if answered.is_err() && self.calls > 0 && self.buffer.is_empty() {
            // llama-server closes a connection after a streamed reply, and does not say so.
            *self = Self::open(&self.address).await?;
            self.attempt(request).await?;
        } else {
            answered?;
        }
        self.calls += 1;
        Ok(&self.buffer)
    }

    /// Asks the same again and again until `end`; gives how many answers came.
    pub async fn ask_until(&mut self, request: &[u8], end: Instant) -> Result<usize> {
        let mut calls = 0;
        while Instant::now() < end {
            self.call(request).await?;
            calls += 1;
        }
        Ok(calls)
    }

    async fn attempt(&mut self, request: &[u8]) -> Result<()> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            self.read().await?;
            if let Some(end) = head_end(&self.buffer)
                && self.is_complete(end)?
            {
                return Ok(());
            }
        }
    }

    fn is_complete(&self, end: usize) -> Result<bool> {
        if !self.any_status {
            check_status(&self.buffer)?;
        }
        Ok(match length(&self.buffer[..end])? {
            Length::Known(length) => self.buffer.len() >= end + length,
            Length::Chunked => is_last(&self.buffer[end..]),
        })
    }

    async fn read(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }

    /// Sends a request and shows `look` what has arrived each time something has. It says how many
    /// bytes it is done with.
    pub async fn stream(&mut self, request: &[u8], mut look: impl FnMut(&[u8]) -> usize) -> Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut head_seen = false;
        loop {
            self.read().await?;
            if !head_seen {
                let Some(end) = head_end(&self.buffer) else { continue };
                check_status(&self.buffer)?;
                head_seen = true;
                self.buffer.drain(..end);
            }
            let ended = is_last(&self.buffer);
            let done = look(&self.buffer);
            if ended {
                return Ok(());
            }
            self.buffer.drain(..done);
        }
    }
}

async fn connect(address: &Address) -> Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn check_status(bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(String::from_utf8_lossy(bytes).into()) }
}

/// Whether this part of a body ends with its last chunk.
fn is_last(body: &[u8]) -> bool {
    body == LAST_CHUNK || body.strip_suffix(LAST_CHUNK).is_some_and(|before| before.ends_with(b"\r\n"))
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn length(head: &[u8]) -> Result<Length> {
    for line in head.split(|&byte| byte == b'\n') {
        if let Some((name, value)) = line.split_at_checked(15)
            && name.eq_ignore_ascii_case(b"content-length:")
        {
            return Ok(Length::Known(str::from_utf8(value)?.trim().parse()?));
        }
    }
    Ok(Length::Chunked)
}

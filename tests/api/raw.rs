//! A client that speaks HTTP by hand, so that it can be slow, rude and gone.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::KEY;

const DEADLINE: Duration = Duration::from_secs(20);

pub struct Raw(pub TcpStream);

/// A request with the right key, whole.
pub fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Fails when the server has closed the connection.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes).await, "the connection is open");
    }

    /// Ends the client's side.
    pub async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Reads until the text holds this, or to the end.
    pub async fn read_to(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            let mut piece = [0; 4096];
            while !String::from_utf8_lossy(&read).contains(text) {
                match self.0.read(&mut piece).await {
                    Ok(bytes @ 1..) => read.extend_from_slice(&piece[..bytes]),
                    _ => break,
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("an answer or an end");
        String::from_utf8_lossy(&read).into_owned()
    }

    pub async fn read_head(&mut self) -> String {
        self.read_to("\r\n\r\n").await
    }

    pub async fn read_to_end(&mut self) -> String {
        self.read_to("\0 never").await
    }

    /// Whether the server has closed the connection, without waiting for it.
    pub fn is_closed(&self) -> bool {
        match self.0.try_read(&mut [0; 4096]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

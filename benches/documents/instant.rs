//! An Ollama whose embedding model takes no time: vectors as long and as exact as a real model's, ready as text.

use std::{fmt::Write, net::SocketAddr};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    Result,
    ollama::{Answers, Request, lines},
    upstream::{json, start_with},
};

pub const MODEL: &str = "instant";
const DIMENSION: usize = 384;

pub fn start() -> Result<SocketAddr> {
    // Digits as in a model's answer; the golden ratio spreads them.
    let number = |at: usize| format!("{:.8}", (at as f64 * 0.618_033_988_75).fract() / 10.0 - 0.05);
    start_with(Instant { numbers: (0..DIMENSION).map(number).collect() })
}

struct Instant {
    numbers: Vec<String>,
}

impl Instant {
    /// One vector for each text; they differ in where they begin.
    fn embeddings(&self, texts: &[Value]) -> String {
        let mut body = format!("{{\"model\":\"{MODEL}\",\"embeddings\":[");
        for (at, text) in texts.iter().enumerate() {
            let text = text.as_str().unwrap_or_default();
            let hash = text.bytes().fold(at, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            let (end, start) = self.numbers.split_at(hash % DIMENSION);
            let numbers = [start, end].concat().join(",");
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(body, "{comma}[{numbers}]");
        }
        body + "],\"total_duration\":1,\"load_duration\":1,\"prompt_eval_count\":1}"
    }

    fn reply(&self, request: &Request<'_>) -> String {
        match request.path() {
            "/api/embed" => {
                let asked: Value = serde_json::from_slice(request.body).unwrap_or_default();
                self.embeddings(asked["input"].as_array().map(Vec::as_slice).unwrap_or_default())
            }
            "/api/tags" => lines::tags(&[(MODEL, "aa")]).to_string(),
            "/api/show" => lines::show(&["embedding"]).to_string(),
            _ => lines::version().to_string(),
        }
    }
}

impl Answers for Instant {
    async fn answer(&self, stream: &mut TcpStream, request: &Request<'_>, _before: usize) -> bool {
        stream.write_all(&json(&self.reply(request))).await.is_ok()
    }
}

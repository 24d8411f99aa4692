//! A fake Ollama that costs next to nothing: canned answers on one thread of this process. A request
//! that asks for it is streamed at a steady pace, and each token says when it was sent.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use memchr::memmem;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

use super::{
    Result, nanos,
    ollama::{
        Answers, Request,
        lines::{self, LAST_CHUNK, chat_line, chunk, done_line, last_line},
        serve,
    },
};

pub const MODEL: &str = "qwen2.5:7b";
/// In a prompt, asks for `TOKENS` tokens, one every `PACE`, the first after one `PACE`.
pub const PACED: &str = "slowly";
pub const TOKENS: u32 = 100;
pub const PACE: Duration = Duration::from_millis(5);

/// In a prompt, asks for `LONG_TOKENS` tokens without delay.
pub const LONG: &str = "at length";
pub const LONG_TOKENS: usize = 64 * WORDS.len();

/// Tokens of an answer without delay.
const WORDS: [&str; 16] = [
    "The",
    " capital",
    " of",
    " France",
    " is",
    " Paris",
    ",",
    " a",
    " city",
    " on",
    " the",
    " river",
    " Seine",
    " since",
    " antiquity",
    ".",
];

/// Serves for the rest of this process.
pub fn start() -> Result<SocketAddr> {
    start_with(Canned::new())
}

/// The same with other answers.
pub fn start_with(answers: impl Answers) -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
        runtime.block_on(async {
            serve(TcpListener::from_std(listener)?, Arc::new(answers)).await;
            Ok::<(), std::io::Error>(())
        })
    })?;
    Ok(address)
}

/// Whole replies, head included.
struct Canned {
    streamed: Vec<u8>,
    long: Vec<u8>,
    whole: Vec<u8>,
    tags: Vec<u8>,
    show: Vec<u8>,
    version: Vec<u8>,
}

impl Canned {
    fn new() -> Self {
        Self {
            streamed: streamed(1),
            long: streamed(LONG_TOKENS / WORDS.len()),
            whole: json(&done_line(&WORDS.concat(), WORDS.len())),
            tags: json(&lines::tags(&[(MODEL, "aa")]).to_string()),
            show: json(&lines::show(&["completion", "tools"]).to_string()),
            version: json(&lines::version().to_string()),
        }
    }

    async fn send(&self, stream: &mut TcpStream, request: &Request<'_>) -> std::io::Result<()> {
        let has = |text: &str| memmem::find(request.body, text.as_bytes()).is_some();
        match request.path() {
            "/api/chat" if has(PACED) => pace(stream, nanos()).await,
            "/api/chat" if has(LONG) => stream.write_all(&self.long).await,
            "/api/chat" if has("\"stream\":true") => stream.write_all(&self.streamed).await,
            "/api/chat" => stream.write_all(&self.whole).await,
            "/api/tags" => stream.write_all(&self.tags).await,
            "/api/show" => stream.write_all(&self.show).await,
            _ => stream.write_all(&self.version).await,
        }
    }
}

impl Answers for Canned {
    async fn answer(&self, stream: &mut TcpStream, request: &Request<'_>, _before: usize) -> bool {
        self.send(stream, request).await.is_ok()
    }
}

/// The first token travels with the head, as Ollama's does.
async fn pace(stream: &mut TcpStream, received: u64) -> std::io::Result<()> {
    let asked = Instant::now();
    let mut out = STREAM_HEAD.to_owned();
    for token in 1..=TOKENS {
        sleep_until(asked + PACE * token).await;
        out += &chunk(&chat_line(&stamp(received, nanos())));
        stream.write_all(out.as_bytes()).await?;
        out.clear();
    }
    end(&mut out, TOKENS as usize);
    stream.write_all(out.as_bytes()).await
}

/// A token's text: when its request was received and when it was sent.
fn stamp(received: u64, sent: u64) -> String {
    format!("@{received:016x}{sent:016x}")
}

/// Calls `found` with both times of each whole stamp in `bytes`, and says how many bytes are done
/// with.
pub fn stamps(bytes: &[u8], mut found: impl FnMut(u64, u64)) -> usize {
    let (mut from, mut time) = (0, [0; 2]);
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == b'@') {
        let Some(digits) = bytes.get(from + at + 1..from + at + 33) else { return from + at };
        for (time, digits) in time.iter_mut().zip(digits.chunks(16)) {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            *time = u64::from_str_radix(text, 16).unwrap_or_default();
        }
        found(time[0], time[1]);
        from += at + 33;
    }
    from
}

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";

/// A streamed answer of all words, so many times.
fn streamed(times: usize) -> Vec<u8> {
    let mut out = STREAM_HEAD.to_owned();
    for _ in 0..times {
        out.extend(WORDS.map(|word| chunk(&chat_line(word))));
    }
    end(&mut out, times * WORDS.len());
    out.into_bytes()
}

fn end(out: &mut String, tokens: usize) {
    *out += &chunk(&last_line(tokens));
    *out += LAST_CHUNK;
}

/// A whole reply of JSON, head included.
pub fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

//! A fake Ollama that costs next to nothing: canned answers on one thread of this process. A request
//! that asks for it is streamed at a steady pace, and each token says when it was sent.

use std::{io::Write, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

use super::{Result, nanos};

pub const MODEL: &str = "qwen2.5:7b";
/// In a prompt, asks for `TOKENS` tokens, one every `PACE`, the first after one `PACE`.
pub const PACED: &str = "slowly";
pub const TOKENS: u32 = 100;
pub const PACE: Duration = Duration::from_millis(5);

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
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let answers: &Answers = Box::leak(Box::new(Answers::new()));
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    // A connection ends when its other side closes it.
                    let _ = converse(stream, answers).await;
                });
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            Ok::<(), std::io::Error>(())
        })
    })?;
    Ok(address)
}

/// Whole replies, head included.
struct Answers {
    streamed: Vec<u8>,
    whole: Vec<u8>,
    tags: Vec<u8>,
    show: Vec<u8>,
    version: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let mut streamed = STREAM_HEAD.to_vec();
        for word in WORDS {
            chunk(&mut streamed, &line(word));
        }
        end(&mut streamed);
        let mut whole = line(&WORDS.concat()).replace("false}\n", "true,");
        whole.push_str(&TIMINGS[1..]);
        Self {
            streamed,
            whole: json(&whole),
            tags: json(&format!(
                "{{\"models\":[{{\"name\":\"{MODEL}\",\"size\":4700000000,\"modified_at\":\"2025-10-01T12:00:00Z\",\"digest\":\"aa\",\"details\":{{\"family\":\"qwen2\",\"parameter_size\":\"7.6B\",\"quantization_level\":\"Q4_K_M\"}}}}]}}"
            )),
            show: json(
                "{\"capabilities\":[\"completion\",\"tools\"],\"model_info\":{\"qwen2.context_length\":32768}}",
            ),
            version: json("{\"version\":\"0.99.0\"}"),
        }
    }
}

async fn converse(mut stream: TcpStream, answers: &Answers) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let length = read_request(&mut stream, &mut buffer).await?;
        let request = &buffer[..length];
        let has = |text: &str| request.windows(text.len()).any(|window| window == text.as_bytes());
        if !request.starts_with(b"POST /api/chat") {
            let other = [("GET /api/tags", &answers.tags), ("POST /api/show", &answers.show)];
            let answer = other.into_iter().find(|(start, _)| request.starts_with(start.as_bytes()));
            stream.write_all(answer.map_or(&answers.version, |(_, answer)| answer)).await?;
        } else if has(PACED) {
            pace(&mut stream, nanos()).await?;
        } else if has("\"stream\":true") {
            stream.write_all(&answers.streamed).await?;
        } else {
            stream.write_all(&answers.whole).await?;
        }
        buffer.drain(..length);
    }
}

/// The length of the next request, which is at the start of `buffer`.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = end + 4 + length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
            if buffer.len() >= length {
                return Ok(length);
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err("closed".into());
        }
    }
}

/// The first token travels with the head, as Ollama's does.
async fn pace(stream: &mut TcpStream, received: u64) -> Result<()> {
    let asked = Instant::now();
    let mut out = STREAM_HEAD.to_vec();
    for token in 1..=TOKENS {
        sleep_until(asked + PACE * token).await;
        chunk(&mut out, &line(&stamp(received, nanos())));
        stream.write_all(&out).await?;
        out.clear();
    }
    end(&mut out);
    Ok(stream.write_all(&out).await?)
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

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
const TIMINGS: &str = "{\"done_reason\":\"stop\",\"total_duration\":5000000,\"load_duration\":1000000,\"prompt_eval_count\":7,\"prompt_eval_duration\":2000000,\"eval_count\":16,\"eval_duration\":2000000}\n";

fn line(text: &str) -> String {
    format!(
        "{{\"model\":\"{MODEL}\",\"created_at\":\"2025-10-01T12:00:00.000000000Z\",\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"done\":false}}\n"
    )
}

fn chunk(out: &mut Vec<u8>, text: &str) {
    write!(out, "{:x}\r\n{text}\r\n", text.len()).expect("a Vec takes everything");
}

fn end(out: &mut Vec<u8>) {
    let last = line("").replace("false}\n", "true,") + &TIMINGS[1..];
    chunk(out, &last);
    out.extend_from_slice(b"0\r\n\r\n");
}

fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

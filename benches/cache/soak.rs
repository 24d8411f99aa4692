//! A long run of mixed hits and misses over more keys than fit: memory has to stay within its bound.

use std::{fs, net::SocketAddr, path::Path, time::Instant};

use futures_util::future::try_join_all;

use super::chat;
use crate::support::{
    Result,
    children::{KEY, Simpleton},
    client::Connection,
    report::{Verdicts, heading},
};

const DISTINCT: u64 = 100_000;
const CONNECTIONS: u64 = 32;
const REPORTS: u64 = 8;
const MEMORY_MB: u64 = 16;

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    let requests: u64 = std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    heading(&format!("{requests} requests over {DISTINCT} questions, {MEMORY_MB} MB of memory for entries"));
    let url = format!("http://{upstream}");
    let memory = MEMORY_MB.to_string();
    let variables =
        [("OLLAMA_BASE_URL", url.as_str()), ("CACHE_MAX_MEMORY_MB", memory.as_str()), ("LOG_LEVEL", "warn")];
    let simpleton = Simpleton::start(&folder.join("soak"), &variables)?;
    let start = resident_mb(simpleton.program.pid())?;
    println!("  {:>3} %  {start:>6.1} MB", 0);
    let mut resident = Vec::new();
    for part in 0..REPORTS {
        let began = Instant::now();
        let each = requests / REPORTS / CONNECTIONS;
        try_join_all((0..CONNECTIONS).map(|n| ask(&simpleton, part * CONNECTIONS + n, each))).await?;
        let now = resident_mb(simpleton.program.pid())?;
        println!(
            "  {:>3} %  {now:>6.1} MB  {:>6.0} /s",
            (part + 1) * 100 / REPORTS,
            (each * CONNECTIONS) as f64 / began.elapsed().as_secs_f64()
        );
        resident.push(now);
    }
    let (middle, end) = (resident[resident.len() / 2 - 1], resident[resident.len() - 1]);
    let growth = end - middle;
    verdicts.add("memory grown in the second half", format!("{growth:.1} MB"), "< 5 MB", growth < 5.0);
    clear(&simpleton, verdicts).await
}

/// All that has gathered is of one type.
async fn clear(simpleton: &Simpleton, verdicts: &mut Verdicts) -> Result<()> {
    let request = format!(
        "DELETE /analytics/cache?prefix=chat HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n\r\n"
    );
    let mut connection = Connection::open(&chat("soak", simpleton, "").address).await?;
    let began = Instant::now();
    let reply = String::from_utf8_lossy(connection.call(request.as_bytes()).await?).into_owned();
    let took = began.elapsed().as_secs_f64();
    let (_, body) = reply.split_once("\r\n\r\n").ok_or("no body")?;
    println!("  {body}");
    verdicts.add("a clear of all that has gathered", format!("{took:.2} s"), "< 1 s", took < 1.0);
    Ok(())
}

async fn ask(simpleton: &Simpleton, seed: u64, requests: u64) -> Result<()> {
    let mut connection = Connection::open(&chat("soak", simpleton, "").address).await?;
    // A linear congruential generator (Knuth, MMIX): any spread over the questions will do.
    let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    for _ in 0..requests {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let question = chat("soak", simpleton, &format!("question {}", (state >> 33) % DISTINCT));
        connection.call(&question.request).await?;
    }
    Ok(())
}

fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

//! Hot hits: the same question again and again.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;

use super::{bare::Bare, body, chat};
use crate::support::{
    Result,
    children::Simpleton,
    client::{Connection, Target, ask_until},
    report::{Values, Verdicts, heading, microseconds},
};

const ROUNDS: usize = 30;
const CALLS: usize = 300;
const CONNECTIONS: usize = 32;
const TIME: Duration = Duration::from_millis(1000);
const QUESTION: &str = "What is the capital of France?";

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    let url = format!("http://{upstream}");
    let start = |name: &str, level: &str| {
        Simpleton::start(&folder.join(name), &[("OLLAMA_BASE_URL", &url), ("LOG_LEVEL", level)])
    };
    let (simpleton, silent) = (start("hits", "info")?, start("silent hits", "warn")?);
    let (hit, silent) = (chat("hit", &simpleton, QUESTION), chat("without log", &silent, QUESTION));
    known(&silent).await?;
    let bare = Bare::start(&known(&hit).await?)?;
    let bare = Target::post("bare axum", bare_address(&bare), "/inference/chat", "", &body(QUESTION));
    let targets = [bare, hit, silent];
    latency(&targets, verdicts).await?;
    throughput(&targets, verdicts).await
}

/// Has it answered from the cache, and returns the body of that answer.
async fn known(hit: &Target) -> Result<String> {
    let mut connection = Connection::open(&hit.address).await?;
    connection.call(&hit.request).await?;
    let reply = String::from_utf8(connection.call(&hit.request).await?.to_vec())?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("no body")?;
    if !head.contains("cache-status: simpleton; hit") {
        return Err(format!("no hit: {reply}").into());
    }
    Ok(body.to_owned())
}

fn bare_address(bare: &Bare) -> SocketAddr {
    bare.address
}

async fn latency(targets: &[Target; 3], verdicts: &mut Verdicts) -> Result<()> {
    heading("A hit and a bare axum route, 1 connection");
    let mut took: [Values; 3] = Default::default();
    let mut connections = Vec::new();
    for target in targets {
        connections.push(Connection::open(&target.address).await?);
    }
    for round in 0..=ROUNDS {
        for (at, target) in targets.iter().enumerate() {
            for _ in 0..CALLS {
                let asked = Instant::now();
                connections[at].call(&target.request).await?;
                // The first round warms up.
                if round > 0 {
                    took[at].add(microseconds(asked.elapsed()));
                }
            }
        }
    }
    for (at, target) in targets.iter().enumerate() {
        let (median, p99) = (took[at].median(), took[at].quantile(0.99));
        println!("  {:<12} median {median:>7.1} µs   p99 {p99:>7.1} µs", target.name);
    }
    let added = took[1].median() - took[0].median();
    verdicts.add("a hit's added median, 1 connection", format!("{added:.1} µs"), "< 100 µs", added < 100.0);
    Ok(())
}

async fn throughput(targets: &[Target; 3], verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("A hit and a bare axum route, {CONNECTIONS} connections"));
    let mut rates: [Values; 3] = Default::default();
    for round in 0..=6 {
        for (at, target) in targets.iter().enumerate() {
            let began = Instant::now();
            let calls: Vec<usize> =
                try_join_all((0..CONNECTIONS).map(|_| ask_until(target, began + TIME))).await?;
            if round > 0 {
                rates[at].add(calls.iter().sum::<usize>() as f64 / began.elapsed().as_secs_f64());
            }
        }
    }
    for (at, target) in targets.iter().enumerate() {
        println!("  {:<12} {:>9.0} /s", target.name, rates[at].median());
    }
    for (at, what) in
        [(1, "hits per second, of a bare axum route's"), (2, "the same without a log line for each")]
    {
        let ratio = rates[at].median() / rates[0].median();
        verdicts.add(what, format!("{ratio:.2} x"), ">= 0.70 x", ratio >= 0.7);
    }
    Ok(())
}

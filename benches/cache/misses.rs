//! Misses: what looking and keeping cost a request that has to be answered anyway.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use super::chat;
use crate::support::{
    Result,
    children::{Program, Simpleton, free_address, wait_for},
    client::Connection,
    report::{Values, Verdicts, heading, microseconds},
};

const ROUNDS: usize = 30;
const CALLS: usize = 100;

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading("Questions that were never asked before, 1 connection");
    let url = format!("http://{upstream}");
    let (redis, redis_url) = redis(folder)?;
    let start = |name: &str, more: &[(&str, &str)]| {
        let variables: Vec<_> = [("OLLAMA_BASE_URL", url.as_str())].iter().chain(more).copied().collect();
        Simpleton::start(&folder.join(name), &variables)
    };
    let servers = [
        ("cache off", start("off", &[("CACHE_ENABLED", "false")])?),
        ("embedded", start("embedded", &[])?),
        ("redis", start("redis", &[("REDIS_URL", &redis_url)])?),
    ];
    let mut connections = Vec::new();
    for (name, server) in &servers {
        connections.push(Connection::open(&chat(name, server, "").address).await?);
    }
    let mut took: [Values; 3] = Default::default();
    for round in 0..=ROUNDS {
        for (at, (name, server)) in servers.iter().enumerate() {
            for call in 0..CALLS {
                let target = chat(name, server, &format!("question {round} {call}"));
                let asked = Instant::now();
                connections[at].call(&target.request).await?;
                if round > 0 {
                    took[at].add(microseconds(asked.elapsed()));
                }
            }
        }
    }
    for (at, (name, _)) in servers.iter().enumerate() {
        let (median, p99) = (took[at].median(), took[at].quantile(0.99));
        println!("  {name:<12} median {median:>7.1} µs   p99 {p99:>7.1} µs");
    }
    let off = took[0].median();
    for (at, name, limit) in [(1, "the embedded store", 50.0), (2, "a local Redis", 300.0)] {
        let added = took[at].median() - off;
        verdicts.add(
            &format!("a miss's added median with {name}"),
            format!("{added:.1} µs"),
            &format!("< {limit} µs"),
            added < limit,
        );
    }
    drop(redis);
    Ok(())
}

fn redis(folder: &Path) -> Result<(Program, String)> {
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    let program = Program::start(command.current_dir(folder).stdout(Stdio::null()))?;
    wait_for(address)?;
    Ok((program, format!("redis://{address}")))
}

//! Paths and models that do not exist: they must leave no series and no memory behind.

use std::{net::SocketAddr, path::Path, time::Instant};

use super::key;
use crate::support::{
    Result,
    children::Simpleton,
    client::{Connection, Target},
    processor,
    report::{Values, Verdicts, heading},
};

const PATHS: usize = 20_000;
const MODELS: usize = 2_000;

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("{PATHS} paths and {MODELS} models that do not exist"));
    let url = format!("http://{upstream}");
    let variables = [("OLLAMA_BASE_URL", url.as_str()), ("LOG_LEVEL", "error")];
    let simpleton = Simpleton::start(&folder.join("unauthenticated"), &variables)?;
    let mut connection = Connection::open_for_refusals(&simpleton.address.into()).await?;
    // The first of each kind make their series, and whatever else is made once.
    ask(&simpleton, &mut connection, 0, 1_000, 200).await?;
    settle(&mut connection, &simpleton).await?;
    let (before, memory_before) =
        (series(&mut connection, &simpleton).await?, processor::memory_of(simpleton.program.pid())?);
    ask(&simpleton, &mut connection, 1_000, PATHS, MODELS).await?;
    settle(&mut connection, &simpleton).await?;
    let (after, memory_after) =
        (series(&mut connection, &simpleton).await?, processor::memory_of(simpleton.program.pid())?);
    let mut took = Values::default();
    let metrics = Target::get("metrics", simpleton.address, "/metrics", "");
    for _ in 0..200 {
        let asked = Instant::now();
        connection.call(&metrics.request).await?;
        took.add(asked.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "  series {before} before, {after} after; memory {memory_before:.1} MB, then {memory_after:.1} MB"
    );
    let grown = memory_after - memory_before;
    verdicts.add(
        "series that unauthenticated callers add",
        (after - before).to_string(),
        "0",
        after == before,
    );
    verdicts.add(
        "memory that unauthenticated callers add",
        format!("{grown:.2} MB"),
        "<= 1 MB",
        grown <= 1.0,
    );
    let median = took.median();
    verdicts.add("GET /metrics", format!("{median:.2} ms"), "< 5 ms", median < 5.0);
    Ok(())
}

async fn ask(
    simpleton: &Simpleton,
    connection: &mut Connection,
    from: usize,
    paths: usize,
    models: usize,
) -> Result<()> {
    for n in from..from + paths {
        let path = format!("/no/such/path/{n}");
        connection.call(&Target::get("path", simpleton.address, &path, "").request).await?;
    }
    for n in from..from + models {
        let body = format!("{{\"model\":\"invented-{n}\",\"prompt\":\"hi\"}}");
        let target = Target::post("model", simpleton.address, "/inference/generate", &key(), &body);
        connection.call(&target.request).await?;
    }
    Ok(())
}

/// Waits until all batches are collected, which a request for statistics does.
async fn settle(connection: &mut Connection, simpleton: &Simpleton) -> Result<()> {
    connection.call(&Target::get("stats", simpleton.address, "/analytics/stats", "").request).await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    Ok(())
}

async fn series(connection: &mut Connection, simpleton: &Simpleton) -> Result<usize> {
    let metrics = Target::get("metrics", simpleton.address, "/metrics", "");
    // Twice: to ask makes a series of its own.
    connection.call(&metrics.request).await?;
    let text = String::from_utf8_lossy(connection.call(&metrics.request).await?).into_owned();
    Ok(text.lines().filter(|line| line.starts_with("simpleton_")).count())
}

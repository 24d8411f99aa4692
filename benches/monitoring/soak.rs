//! A long run: what has been observed must not pile up.

use std::{net::SocketAddr, path::Path, time::Instant};

use futures_util::future::try_join_all;

use super::chat;
use crate::support::{
    Result,
    children::Simpleton,
    client::Connection,
    processor,
    report::{Verdicts, heading},
};

const CONNECTIONS: u64 = 32;
const REPORTS: u64 = 10;

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    let requests: u64 = std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    heading(&format!("{requests} requests"));
    let url = format!("http://{upstream}");
    let variables = [("OLLAMA_BASE_URL", url.as_str()), ("LOG_LEVEL", "warn")];
    let simpleton = Simpleton::start(&folder.join("soak"), &variables)?;
    let target = chat("soak", &simpleton);
    let mut resident = Vec::new();
    for part in 0..REPORTS {
        let (began, each) = (Instant::now(), requests / REPORTS / CONNECTIONS);
        try_join_all((0..CONNECTIONS).map(|_| async {
            let mut connection = Connection::open(&target.address).await?;
            for _ in 0..each {
                connection.call(&target.request).await?;
            }
            Result::Ok(())
        }))
        .await?;
        let now = processor::memory_of(simpleton.program.pid())?;
        let rate = (each * CONNECTIONS) as f64 / began.elapsed().as_secs_f64();
        println!("  {:>3} %  {now:>6.1} MB  {rate:>6.0} /s", (part + 1) * 100 / REPORTS);
        resident.push(now);
    }
    let grown = resident[resident.len() - 1] - resident[resident.len() / 2];
    verdicts.add("memory grown in the second half", format!("{grown:.1} MB"), "< 1 MB", grown < 1.0);
    Ok(())
}

//! The server by itself, without a model: how soon it answers and how much memory it takes.

use std::{net::SocketAddr, path::Path, time::Instant};

use crate::support::{
    Result,
    children::Simpleton,
    client::Connection,
    processor,
    report::{Values, Verdicts, heading},
};

const STARTS: usize = 15;

pub fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("From exec to the first answered /health, and memory then, {STARTS} starts"));
    let url = format!("http://{upstream}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut took, mut memory) = (Values::default(), Values::default());
    for _ in 0..STARTS {
        let began = Instant::now();
        let simpleton = Simpleton::start(folder, &[("OLLAMA_BASE_URL", &url)])?;
        runtime.block_on(async {
            let mut connection = Connection::open(&simpleton.address.into()).await?;
            connection.call(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.map(|_| ())
        })?;
        took.add(began.elapsed().as_secs_f64() * 1e3);
        memory.add(processor::memory_of(simpleton.program.pid())?);
    }
    let (median, slowest) = (took.median(), took.quantile(1.0));
    let (resident, most) = (memory.median(), memory.quantile(1.0));
    println!("  ready     median {median:.1} ms, slowest {slowest:.1} ms");
    println!("  resident  median {resident:.1} MB, most {most:.1} MB");
    verdicts.add("exec to the first answer", format!("{median:.1} ms"), "< 150 ms", median < 150.0);
    verdicts.add("resident memory without a model", format!("{resident:.1} MB"), "< 30 MB", resident < 30.0);
    Ok(())
}

//! 64 uploads of 10 MB at once, beside a chat that goes on: the memory that the server takes, and how
//! long the chat's replies take, alone and then in the crowd.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{
    KEY, Simpleton, Target, form, photo,
    support::{
        Result,
        client::Connection,
        processor::memory_of,
        report::{Values, Verdicts, heading},
        upstream::MODEL,
    },
};

const UPLOADS: usize = 64;
const BYTES: usize = 10_000_000;
/// Memory that all of them would take at once: the file, its pixels, and what is made of them.
const UNBOUNDED_MB: f64 = UPLOADS as f64 * (BYTES as f64 + 3.0 * 12e6) / 1e6;

pub async fn measure(simpleton: &Simpleton, verdicts: &mut Verdicts) -> Result<()> {
    let mut file = photo::jpeg()?;
    // Bytes after the end of a JPEG are passed over, and count all the same.
    file.resize(BYTES, 0);
    let upload = form(simpleton, &file);
    let chat = format!("{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}");
    let key = format!("x-api-key: {KEY}\r\n");
    let chat = Target::post("chat", simpleton.address, "/inference/chat", &key, &chat);
    heading("64 uploads of 10 MB at once, beside a chat");
    let mut alone = latencies(&chat, Instant::now() + Duration::from_secs(2)).await?;
    let pid = simpleton.program.pid();
    let before = memory_of(pid)?;
    // On a thread of its own, as another client would be.
    let crowd = std::thread::spawn(move || send(&upload));
    let (mut beside, mut peak) = (Values::default(), before);
    while !crowd.is_finished() {
        beside.add_all(latencies(&chat, Instant::now() + Duration::from_millis(20)).await?);
        peak = peak.max(memory_of(pid)?);
    }
    let took = crowd.join().map_err(|_| "the crowd failed")??;
    println!("  all answered after {:.1} s", took.as_secs_f64());
    println!("  memory: {before:.0} MB before, {peak:.0} MB at most (all at once: {UNBOUNDED_MB:.0} MB)");
    for (name, values) in [("alone", &mut alone), ("beside", &mut beside)] {
        let [median, most] = [0.5, 0.99].map(|share| values.quantile(share));
        println!("  chat {name:<7} median {median:.2} ms, 99 % within {most:.1} ms");
    }
    verdicts.add(
        "memory with 64 uploads of 10 MB at once",
        format!("{peak:.0} MB"),
        "< 700 MB",
        peak < 700.0,
    );
    let median = beside.median();
    verdicts.add("median of a chat reply beside them", format!("{median:.1} ms"), "< 10 ms", median < 10.0);
    Ok(())
}

fn send(upload: &Target) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(try_join_all((0..UPLOADS).map(|_| once(upload))))?;
    Ok(began.elapsed())
}

async fn once(upload: &Target) -> Result<()> {
    Connection::open(&upload.address).await?.call(&upload.request).await?;
    Ok(())
}

/// Milliseconds that each reply took.
async fn latencies(target: &Target, end: Instant) -> Result<Values> {
    let mut connection = Connection::open(&target.address).await?;
    let mut values = Values::default();
    while Instant::now() < end {
        let began = Instant::now();
        connection.call(&target.request).await?;
        values.add(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(values)
}

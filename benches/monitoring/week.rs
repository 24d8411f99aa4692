//! A full week of busy figures, 20 routes in every minute, and what it takes to tell of it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use simpleton::{
    request_context::Context,
    store::{self, History},
    telemetry::{
        aggregates::{Aggregator, Clock},
        labels,
        record::{RequestFacts, RequestRecord},
        sink::Sink,
    },
    types::KeyId,
};

use crate::support::{
    Result,
    children::Simpleton,
    client::{Connection, Target},
    processor,
    report::{Values, Verdicts, heading},
};

const MINUTES: u32 = 7 * 24 * 60;
const REQUESTS: usize = 60;
const ROUTES: [&str; 20] = [
    "/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k", "/l", "/m", "/n", "/o", "/p", "/q",
    "/r", "/s", "/t",
];

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("A week: {} routes, {REQUESTS} requests of each in every minute", ROUTES.len()));
    let file = folder.join("week.db");
    fill(folder, &file).await?;
    let megabytes = std::fs::metadata(&file)?.len() as f64 / 1e6;
    let url = format!("http://{upstream}");
    let path = file.to_string_lossy();
    let start = |name: &str, more: &[(&str, &str)]| {
        let variables: Vec<_> = [("OLLAMA_BASE_URL", url.as_str())].iter().chain(more).copied().collect();
        Simpleton::start(&folder.join(name), &variables)
    };
    let (week, empty) = (start("week", &[("METRICS_FILE", &path)])?, start("empty", &[])?);
    let mut memory = [0.0; 2];
    for (at, server) in [&week, &empty].into_iter().enumerate() {
        let mut connection = Connection::open(&server.address.into()).await?;
        for since in [5, 60, 1440, 10_080] {
            let target =
                Target::get("stats", server.address, &format!("/analytics/stats?since_minutes={since}"), "");
            let mut took = Values::default();
            for _ in 0..100 {
                let asked = Instant::now();
                connection.call(&target.request).await?;
                took.add(asked.elapsed().as_secs_f64() * 1e3);
            }
            if at == 0 {
                let (median, worst) = (took.median(), took.quantile(0.99));
                println!("  /analytics/stats over {since} minutes: median {median:.2} ms, p99 {worst:.2} ms");
                if since == 10_080 {
                    check(&mut connection, &target).await?;
                    verdicts.add(
                        "/analytics/stats over a week",
                        format!("{median:.2} ms"),
                        "< 10 ms",
                        median < 10.0,
                    );
                }
            }
        }
        memory[at] = processor::memory_of(server.program.pid())?;
    }
    verdicts.add("a week on disk", format!("{megabytes:.1} MB"), "< 50 MB", megabytes < 50.0);
    let more = memory[0] - memory[1];
    verdicts.add("a week in memory", format!("{more:.1} MB"), "< 10 MB", more < 10.0);
    Ok(())
}

/// Nearly all that was recorded has to be told; the first hour may already be too old.
async fn check(connection: &mut Connection, target: &Target) -> Result<()> {
    let reply = String::from_utf8_lossy(connection.call(&target.request).await?).into_owned();
    let (_, total) = reply.split_once("\"total_requests\":").ok_or("no total")?;
    let total: f64 = total.split(',').next().ok_or("no total")?.parse()?;
    let recorded = f64::from(MINUTES) * (ROUTES.len() * REQUESTS) as f64;
    if (total / recorded - 1.0).abs() > 0.01 {
        return Err(format!("{total} requests are told of {recorded}").into());
    }
    Ok(())
}

/// Records the week minute by minute as a server would have, only faster.
async fn fill(folder: &Path, file: &Path) -> Result<()> {
    let now = Arc::new(Mutex::new(SystemTime::now() - Duration::from_secs(u64::from(MINUTES) * 60)));
    let shared = Arc::clone(&now);
    let clock: Clock = Arc::new(move || *shared.lock().unwrap_or_else(PoisonError::into_inner));
    let aggregator = Arc::new(Aggregator::with_clock(Arc::default(), Arc::default(), Arc::clone(&clock)));
    let settings = store::Settings { metrics_retention_hours: 168, metrics_file: Some(file.to_owned()) };
    let history = History::open(&settings, folder, Arc::clone(&aggregator));
    let mut dice = 1_u64;
    for minute in 0..MINUTES {
        for (at, route) in ROUTES.into_iter().enumerate() {
            for _ in 0..REQUESTS {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                aggregator.request_ended(&observed(route, at, dice, clock()));
            }
        }
        *now.lock().unwrap_or_else(PoisonError::into_inner) += Duration::from_secs(60);
        if minute % 500 == 0 || minute == MINUTES - 1 {
            while !aggregator.to_write().parts.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } else {
            // As the store would every second.
            aggregator.recent(1);
        }
    }
    history.stop().await;
    // The next one to open the file folds the hours.
    let history = History::open(&settings, folder, aggregator);
    history.aggregates(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    history.stop().await;
    Ok(())
}

/// Durations over four powers of ten, most of them in the middle, as a mix of hits and models has.
fn observed(route: &'static str, at: usize, dice: u64, ended_at: SystemTime) -> RequestRecord {
    let uniform = |shift: u32| ((dice >> shift) & 0xffff) as f64 / 65_536.0;
    let bell = (uniform(16) + uniform(32) + uniform(48)) / 3.0;
    let seconds = 10_f64.powf(-3.0 + 4.0 * bell) * (1.0 + at as f64 / 10.0);
    RequestRecord {
        purpose: labels::Purpose::Api,
        context: Arc::new(Context::new(None, None, None)),
        method: "POST",
        endpoint: route,
        path: String::new(),
        status: 200,
        duration: Duration::from_secs_f64(seconds),
        ended_at,
        ended: Instant::now(),
        facts: RequestFacts {
            key: Some(KeyId::new([1, 2, 3, 4])),
            bytes_in: 200,
            bytes_out: 1000,
            ..RequestFacts::default()
        },
    }
}

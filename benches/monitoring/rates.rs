//! Requests per second with monitoring and without it, in turns. The requests are what the server
//! does fastest, answers out of the cache: there monitoring weighs most.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;

use super::chat;
use crate::support::{
    Result,
    children::Simpleton,
    client::{Connection, Target, ask_until},
    processor,
    report::{Values, Verdicts, heading},
};

const CONNECTIONS: usize = 32;
/// Each process has its luck with addresses and caches for as long as it lives, some hundredths of its
/// speed; so pairs of them take turns, too.
const PAIRS: usize = 8;
const ROUNDS: usize = 8;
const TIME: Duration = Duration::from_millis(400);

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("Requests per second, {CONNECTIONS} connections, answers out of the cache"));
    let url = format!("http://{upstream}");
    let (mut ratios, mut costs) = (Values::default(), Values::default());
    let mut rates: [Values; 2] = Default::default();
    for pair in 0..PAIRS {
        let start = |enabled: &str| {
            let variables =
                [("OLLAMA_BASE_URL", url.as_str()), ("MONITORING_ENABLED", enabled), ("LOG_LEVEL", "warn")];
            Simpleton::start(&folder.join(format!("{pair} {enabled}")), &variables)
        };
        let servers = [start("true")?, start("false")?];
        let targets: [Target; 2] = [chat("on", &servers[0]), chat("off", &servers[1])];
        for target in &targets {
            Connection::open(&target.address).await?.call(&target.request).await?;
        }
        for round in 0..=ROUNDS {
            let (mut rate, mut cost) = ([0.0; 2], [0.0; 2]);
            // The one that goes first changes, so that what comes and goes on the machine meets both.
            for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let used = processor::time_of(servers[at].program.pid())?;
                let began = Instant::now();
                let calls: Vec<usize> =
                    try_join_all((0..CONNECTIONS).map(|_| ask_until(&targets[at], began + TIME))).await?;
                let calls = calls.iter().sum::<usize>() as f64;
                rate[at] = calls / began.elapsed().as_secs_f64();
                let took = processor::time_of(servers[at].program.pid())? - used;
                cost[at] = took.as_secs_f64() * 1e6 / calls;
            }
            if round > 0 {
                ratios.add(rate[0] / rate[1]);
                costs.add(cost[0] - cost[1]);
                (0..2).for_each(|at| rates[at].add(rate[at]));
            }
        }
    }
    println!("  on {:.0} /s, off {:.0} /s", rates[0].median(), rates[1].median());
    println!("  processor time for one request: {:.2} µs more", costs.median());
    let ratio = ratios.median();
    verdicts.add(
        "requests per second with monitoring, of those without",
        format!("{ratio:.3} x"),
        ">= 0.98 x",
        ratio >= 0.98,
    );
    Ok(())
}

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
    client::{Connection, Target},
    processor,
    report::{Values, Verdicts, heading, microseconds},
};

const CONNECTIONS: usize = 32;
/// Each process has its luck with addresses and caches for as long as it lives, some hundredths of its
/// speed, which only many of them make up for.
const PAIRS: usize = 48;
/// Turns of a pair, the first two to warm up. Short, so that what comes and goes on the machine meets
/// both alike.
const TURNS: usize = 18;
const TURN: Duration = Duration::from_millis(50);

pub async fn measure(folder: &Path, upstream: SocketAddr, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("Requests per second, {CONNECTIONS} connections, answers out of the cache"));
    let url = format!("http://{upstream}");
    let (mut ratios, mut costs) = (Values::default(), Values::default());
    let mut rates: [Values; 2] = Default::default();
    for pair in 0..PAIRS {
        let mut on = Side::start(&folder.join(format!("{pair} on")), &url, "true").await?;
        let mut off = Side::start(&folder.join(format!("{pair} off")), &url, "false").await?;
        for turn in 0..TURNS {
            // The one that goes first changes, too.
            let order = if turn % 2 == 0 { [&mut on, &mut off] } else { [&mut off, &mut on] };
            for side in order {
                side.turn(turn < 2).await?;
            }
        }
        ratios.add(on.rate() / off.rate());
        costs.add(on.cost() - off.cost());
        rates[0].add(on.rate());
        rates[1].add(off.rate());
    }
    println!("  on {:.0} /s, off {:.0} /s", rates[0].median(), rates[1].median());
    println!("  processor time for one request: {:.2} µs more", costs.median());
    println!(
        "  {PAIRS} pairs of servers: half of them between {:.3} and {:.3} x",
        ratios.quantile(0.25),
        ratios.quantile(0.75)
    );
    let ratio = ratios.median();
    verdicts.add(
        "requests per second with monitoring, of those without",
        format!("{ratio:.3} x"),
        ">= 0.98 x",
        ratio >= 0.98,
    );
    Ok(())
}

/// A server, who asks it, and what came of it.
struct Side {
    server: Simpleton,
    request: Vec<u8>,
    connections: Vec<Connection>,
    calls: usize,
    took: Duration,
    processor: Duration,
}

impl Side {
    async fn start(folder: &Path, upstream: &str, monitoring: &str) -> Result<Self> {
        let variables =
            [("OLLAMA_BASE_URL", upstream), ("MONITORING_ENABLED", monitoring), ("LOG_LEVEL", "warn")];
        let server = Simpleton::start(folder, &variables)?;
        let Target { address, request, .. } = chat("", &server);
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = Connection::open(&address).await?;
            connection.call(&request).await?;
            connections.push(connection);
        }
        Ok(Self { server, request, connections, calls: 0, took: Duration::ZERO, processor: Duration::ZERO })
    }

    async fn turn(&mut self, warms_up: bool) -> Result<()> {
        let pid = self.server.program.pid();
        let (began, used) = (Instant::now(), processor::time_of(pid)?);
        let request = &self.request;
        let asking =
            self.connections.iter_mut().map(|connection| connection.ask_until(request, began + TURN));
        let calls: usize = try_join_all(asking).await?.into_iter().sum();
        if !warms_up {
            self.calls += calls;
            self.took += began.elapsed();
            self.processor += processor::time_of(pid)?.saturating_sub(used);
        }
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }

    /// Microseconds of processor time for a request.
    fn cost(&self) -> f64 {
        microseconds(self.processor) / self.calls as f64
    }
}

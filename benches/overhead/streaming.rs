//! Streams of tokens: how much later than when they were sent they arrive, and whether they arrive as
//! evenly. Tokens carry the time at which they were sent, so the upstream's own unevenness is out of
//! it.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::{
    Stage,
    support::{
        Result,
        client::{Connection, Target},
        nanos,
        report::{Values, Verdicts, heading},
        upstream::{PACE, PACED, TOKENS, stamps},
    },
};

/// All times in milliseconds.
#[derive(Default)]
struct Seen {
    /// From the request's first byte to its arrival upstream, plus from the first token's departure
    /// to its arrival.
    first: Values,
    /// Between a token's departure and its arrival.
    late: Values,
    /// Between two tokens as they arrive, and what of it they did not depart with.
    gap: Values,
    stall: Values,
}

pub async fn measure(stage: &Stage, verdicts: &mut Verdicts) -> Result<()> {
    for (streams, rounds) in [(1, 8), (256, 4)] {
        heading(&format!("{TOKENS} tokens, one every {} ms, {streams} stream(s)", PACE.as_millis()));
        let targets = stage.targets(PACED, true);
        let mut seen: [Seen; 4] = Default::default();
        for round in 0..=rounds {
            for (at, target) in targets.iter().enumerate() {
                let read = try_join_all((0..streams).map(|stream| read(target, stream, streams))).await?;
                // The first round warms up.
                if round > 0 {
                    read.into_iter().for_each(|read| seen[at].add(read));
                }
            }
        }
        print(&targets, &mut seen);
        judge(streams, &mut seen, verdicts);
    }
    Ok(())
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.first.add_all(other.first);
        self.late.add_all(other.late);
        self.gap.add_all(other.gap);
        self.stall.add_all(other.stall);
    }
}

/// Streams start evenly spread over a few tokens' time: real clients do not all come at once.
async fn read(target: &Target, stream: u32, streams: u32) -> Result<Seen> {
    let mut connection = Connection::open(&target.address).await?;
    sleep(10 * PACE * stream / streams).await;
    let (mut seen, mut tokens, mut before) = (Seen::default(), 0, None);
    let asked = nanos();
    connection
        .stream(&target.request, |bytes| {
            let now = nanos();
            stamps(bytes, |received, sent| {
                tokens += 1;
                let late = milliseconds(now, sent);
                seen.late.add(late);
                match before.replace((now, sent)) {
                    None => seen.first.add(milliseconds(received, asked) + late),
                    Some((arrived, departed)) => {
                        let gap = milliseconds(now, arrived);
                        seen.gap.add(gap);
                        seen.stall.add(gap - milliseconds(sent, departed));
                    }
                }
            })
        })
        .await?;
    if tokens == TOKENS { Ok(seen) } else { Err(format!("{}: {tokens} tokens", target.name).into()) }
}

fn milliseconds(later: u64, earlier: u64) -> f64 {
    Duration::from_nanos(later.saturating_sub(earlier)).as_secs_f64() * 1e3
}

fn print(targets: &[Target], seen: &mut [Seen]) {
    println!(
        "  {:<10} {:>17}   {:^28}   {:^28}",
        "in ms", "to first token", "a token's way", "between tokens"
    );
    println!(
        "  {:<10} {:>8} {:>8}   {:>8} {:>9} {:>9}   {:>8} {:>9} {:>9}",
        "", "median", "p99", "median", "p99", "max", "median", "p99", "max"
    );
    for (target, seen) in targets.iter().zip(seen) {
        let [first, late, gap] = [&mut seen.first, &mut seen.late, &mut seen.gap]
            .map(|values| [0.5, 0.99, 1.0].map(|share| values.quantile(share)));
        println!(
            "  {:<10} {:>8.3} {:>8.3}   {:>8.3} {:>9.3} {:>9.3}   {:>8.3} {:>9.3} {:>9.3}",
            target.name, first[0], first[1], late[0], late[1], late[2], gap[0], gap[1], gap[2]
        );
    }
}

/// A stall is a gap that the upstream did not make. On a busy machine even a direct reader sees some;
/// what counts is what is added.
fn judge(streams: u32, seen: &mut [Seen; 4], verdicts: &mut Verdicts) {
    let [direct, nginx, simpleton, openai] = seen;
    if streams == 1 {
        let added = simpleton.first.median() - direct.first.median();
        verdicts.add(
            "added time to first token, 1 stream",
            format!("{added:.3} ms"),
            "< 0.500 ms",
            added < 0.5,
        );
        let added = simpleton.stall.quantile(0.99) - direct.stall.quantile(0.99);
        verdicts.add(
            "added stall between tokens, p99, 1 stream",
            format!("{added:.3} ms"),
            "< 1.000 ms",
            added < 1.0,
        );
    } else {
        // With this many streams every proxy queues for the processor. On a quiet machine none adds as much
        // as a token's time; on a busy one nginx shows how much is fair.
        let p99 = |seen: &mut Seen| seen.gap.quantile(0.99);
        let (fair, added) = (p99(nginx) - p99(direct), p99(simpleton) - p99(direct));
        println!("  added to the 99th percentile of gaps: nginx {fair:.3} ms, simpleton {added:.3} ms");
        let pace = PACE.as_secs_f64() * 1e3;
        let what = format!("added gap between tokens, p99, {streams} streams");
        let told = format!("{added:.3} ms, {:.2} x nginx's", added / fair);
        let target = "less than one token (5 ms), or <= 1.50 x";
        verdicts.add(&what, told, target, added < pace || added <= 1.5 * fair);
        let base = direct.first.median();
        let added = |seen: &mut Seen| seen.first.median() - base;
        let (fair, added) = (added(nginx), added(openai));
        println!("  added to the first token: nginx {fair:.3} ms, openai {added:.3} ms");
        let ratio = added / fair;
        let what = format!("added time to first token, {streams} OpenAI streams, of nginx's");
        verdicts.add(&what, format!("{ratio:.2} x"), "< 1.20 x", ratio < 1.2);
    }
}

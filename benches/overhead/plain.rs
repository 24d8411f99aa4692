//! Whole replies: latency on one connection, throughput on many.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{
    Stage,
    support::{
        Result,
        client::{Connection, ask_until},
        processor,
        report::{Values, Verdicts, heading, microseconds},
    },
};

const QUESTION: &str = "What is the capital of France?";

const LATENCY_ROUNDS: usize = 40;
const LATENCY_CALLS: usize = 200;

pub async fn latency(stage: &Stage, verdicts: &mut Verdicts) -> Result<()> {
    heading("Whole reply of 16 tokens, upstream without delay, 1 connection");
    let targets = stage.targets(QUESTION, false);
    let mut connections = Vec::new();
    for target in &targets {
        let mut connection = Connection::open(&target.address).await?;
        let reply = connection.call(&target.request).await?;
        if !reply.windows(9).any(|window| window == b"antiquity") {
            return Err(format!("{}: {}", target.name, String::from_utf8_lossy(reply)).into());
        }
        connections.push(connection);
    }
    let mut took: [Values; 4] = Default::default();
    let mut processor = [Duration::ZERO; 4];
    for round in 0..=LATENCY_ROUNDS {
        for (at, target) in targets.iter().enumerate() {
            let before = used(stage, at)?;
            let mut values = Values::default();
            for _ in 0..LATENCY_CALLS {
                let asked = Instant::now();
                connections[at].call(&target.request).await?;
                values.add(microseconds(asked.elapsed()));
            }
            // The first round warms up.
            if round > 0 {
                took[at].add_all(values);
                processor[at] += used(stage, at)?.saturating_sub(before);
            }
        }
    }
    let direct = took[0].median();
    println!("  {:<10} {:>10} {:>10} {:>10} {:>14}", "", "median", "p99", "added", "processor");
    let calls = (LATENCY_ROUNDS * LATENCY_CALLS) as f64;
    for (at, target) in targets.iter().enumerate() {
        let (median, p99) = (took[at].median(), took[at].quantile(0.99));
        let cost = microseconds(processor[at]) / calls;
        println!(
            "  {:<10} {median:>7.1} µs {p99:>7.1} µs {:>7.1} µs {cost:>8.1} µs/call",
            target.name,
            median - direct
        );
    }
    let ratio = (took[2].median() - direct) / (took[1].median() - direct);
    verdicts.add(
        "added latency, 1 connection, of nginx's",
        format!("{ratio:.2} x"),
        "<= 1.50 x",
        ratio <= 1.5,
    );
    Ok(())
}

const CONNECTIONS: usize = 64;
const THROUGHPUT_ROUNDS: usize = 6;
const THROUGHPUT_TIME: Duration = Duration::from_millis(1500);

pub async fn throughput(stage: &Stage, verdicts: &mut Verdicts) -> Result<()> {
    heading(&format!("Whole reply of 16 tokens, upstream without delay, {CONNECTIONS} connections"));
    let targets = stage.targets(QUESTION, false);
    let mut rates: [Values; 4] = Default::default();
    let mut costs: [Values; 4] = Default::default();
    for round in 0..=THROUGHPUT_ROUNDS {
        for (at, target) in targets.iter().enumerate() {
            let before = used(stage, at)?;
            let began = Instant::now();
            let calls: usize =
                try_join_all((0..CONNECTIONS).map(|_| ask_until(target, began + THROUGHPUT_TIME)))
                    .await?
                    .into_iter()
                    .sum();
            if round > 0 {
                rates[at].add(calls as f64 / began.elapsed().as_secs_f64());
                costs[at].add(microseconds(used(stage, at)?.saturating_sub(before)) / calls as f64);
            }
        }
    }
    println!("  {:<10} {:>14} {:>14}", "", "median", "processor");
    for (at, target) in targets.iter().enumerate() {
        let (rate, cost) = (rates[at].median(), costs[at].median());
        println!("  {:<10} {rate:>9.0} /s   {cost:>9.1} µs/call", target.name);
    }
    let ratio = rates[2].median() / rates[1].median();
    verdicts.add(
        "requests per second, 64 connections, of nginx's",
        format!("{ratio:.2} x"),
        ">= 0.50 x",
        ratio >= 0.5,
    );
    Ok(())
}

/// The processor time that serving this target has taken so far.
fn used(stage: &Stage, at: usize) -> Result<Duration> {
    stage.pids()[at].map_or(Ok(Duration::ZERO), processor::time_of)
}

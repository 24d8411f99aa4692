//! Other vendors' APIs beside the native one: what a request and what a token costs in each, with the same answer
//! from the same upstream.

use std::time::{Duration, Instant};

use crate::{
    Stage,
    support::{
        Result,
        children::KEY,
        client::{Connection, Target},
        processor,
        report::{Values, Verdicts, heading, microseconds},
        upstream::{LONG, LONG_TOKENS, MODEL},
    },
};

const ROUNDS: usize = 30;

pub async fn measure(stage: &Stage, verdicts: &mut Verdicts) -> Result<()> {
    heading("Each API: whole reply of 16 tokens, upstream without delay, 1 connection");
    compare(stage, &targets(stage, "What is the capital of France?", false), 200, 1, verdicts).await?;
    heading(&format!("Each API: {LONG_TOKENS} tokens streamed, upstream without delay, 1 connection"));
    compare(stage, &targets(stage, LONG, true), 10, LONG_TOKENS, verdicts).await
}

/// The same question to each API, the native one first.
fn targets(stage: &Stage, prompt: &str, stream: bool) -> Vec<Target> {
    let messages = format!("\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]");
    let responses = format!("\"input\":\"{prompt}\",\"store\":false");
    let anthropic = format!("{messages},\"max_tokens\":4096");
    let key = format!("x-api-key: {KEY}\r\n");
    [
        ("native", "/inference/chat", &messages),
        ("openai", "/v1/chat/completions", &messages),
        ("responses", "/v1/responses", &responses),
        ("ollama", "/api/chat", &messages),
        ("anthropic", "/v1/messages", &anthropic),
    ]
    .map(|(name, path, question)| {
        let body = format!("{{\"model\":\"{MODEL}\",{question},\"stream\":{stream}}}");
        Target::post(name, stage.simpleton.address, path, &key, &body)
    })
    .into()
}

/// Measures `calls` requests of each target in each round; a request has `units` requests or tokens.
async fn compare(
    stage: &Stage,
    targets: &[Target],
    calls: usize,
    units: usize,
    verdicts: &mut Verdicts,
) -> Result<()> {
    let pid = stage.simpleton.program.pid();
    let mut connections = Vec::new();
    for target in targets {
        let mut connection = Connection::open(&target.address).await?;
        let reply = connection.call(&target.request).await?;
        if !reply.windows(9).any(|window| window == b"antiquity") {
            return Err(format!("{}: {}", target.name, String::from_utf8_lossy(reply)).into());
        }
        connections.push(connection);
    }
    let mut took = targets.iter().map(|_| Values::default()).collect::<Vec<_>>();
    let mut processor = vec![Duration::ZERO; targets.len()];
    for round in 0..=ROUNDS {
        for (at, target) in targets.iter().enumerate() {
            let before = processor::own_time(pid)?;
            let mut values = Values::default();
            for _ in 0..calls {
                let asked = Instant::now();
                connections[at].call(&target.request).await?;
                values.add(microseconds(asked.elapsed()) / units as f64);
            }
            // The first round warms up.
            if round > 0 {
                took[at].add_all(values);
                processor[at] += processor::own_time(pid)?.saturating_sub(before);
            }
        }
    }
    let unit = if units == 1 { "request" } else { "token" };
    println!("  {:<10} {:>13} {:>13} {:>13}   per {unit}", "", "median", "p99", "processor");
    for (at, target) in targets.iter().enumerate() {
        let (median, p99) = (took[at].median(), took[at].quantile(0.99));
        let cost = microseconds(processor[at]) / (ROUNDS * calls * units) as f64;
        println!("  {:<10} {median:>10.2} µs {p99:>10.2} µs {cost:>10.2} µs", target.name);
    }
    let native = took[0].median();
    for (target, took) in targets.iter().zip(&mut took).skip(1) {
        let ratio = took.median() / native;
        let what = format!("time per {unit}, {}, of the native API's", target.name);
        verdicts.add(&what, format!("{ratio:.2} x"), "<= 1.05 x", ratio <= 1.05);
    }
    Ok(())
}

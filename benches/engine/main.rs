//! Benchmarks of the embedded engine: tokens per second through its API, beside the
//! same llama-server process asked directly over its socket, in turns, as any client of it asks for a
//! chat (`/v1/chat/completions`). Same file, flags, threads, prompt and slots by construction. Once with
//! the demo, whose tokens take a fraction of a millisecond each, so that what is added for each weighs
//! more than with any model of use, once with a model whose tokens take as long as a small real one's
//! (slow.rs), and once with the real model of 0.5B parameters. Embeddings likewise, through OpenAI's API.
//! usage: cargo bench --bench engine -- [demo] [slow] [text] [embeddings]
//! environment: LLAMA_SERVER, the engine, SIMPLETON_TEST_TEXT and SIMPLETON_TEST_EMBEDDING, the real models; else those
//! in the default data folder.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod support;

mod embeddings;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/real_models.rs"]
mod real_models;
mod slow;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;

use llama_server::llama_server;
use real_models::real_model;
use support::{
    Result,
    children::{KEY, Simpleton, import},
    client::{Connection, Target},
    processor,
    report::{Values, Verdicts, heading, microseconds},
    wanted,
};

const PARALLEL: [usize; 2] = [1, 8];
const TIME: Duration = Duration::from_millis(400);

/// A model to measure with.
struct Model {
    name: &'static str,
    rounds: usize,
    /// The most tokens of a reply.
    tokens: u64,
}

const DEMO: Model = Model { name: "simpleton-demo", rounds: 40, tokens: 200 };
const SLOW: Model = Model { name: "slow", rounds: 24, tokens: 200 };
/// Its replies take seconds, so that they are shorter and fewer.
const TEXT: Model = Model { name: "text", rounds: 8, tokens: 64 };

/// Among what the demo was trained on, and its longest answers.
const PROMPT: &str = "Write a three-sentence story about a fox.";

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let engine = llama_server();
    let engine = engine.to_string_lossy();
    let variables = [
        ("LLAMA_SERVER", &*engine),
        ("ENGINE_PARALLEL", "8"),
        // One child at a time: that of the model being measured.
        ("ENGINE_MAX_LOADED", "1"),
        // The same prompt each time would else be answered once.
        ("CACHE_ENABLED", "false"),
    ];
    let slow = folder.path().join("slow.gguf");
    slow::write(&slow)?;
    import(folder.path(), SLOW.name, &slow)?;
    if wanted("text") {
        import(folder.path(), TEXT.name, &real_model("qwen2.5-coder:0.5b"))?;
    }
    if wanted("embeddings") {
        import(folder.path(), embeddings::MODEL, &real_model(embeddings::MODEL))?;
    }
    let simpleton = Simpleton::start(folder.path(), &variables)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut verdicts = Verdicts::default();
    runtime.block_on(async {
        for (what, model) in [("demo", DEMO), ("slow", SLOW), ("text", TEXT)] {
            if wanted(what) {
                compare(&simpleton, &model, true, &mut verdicts).await?;
                compare(&simpleton, &model, false, &mut verdicts).await?;
            }
        }
        if wanted("embeddings") {
            embeddings::compare(&simpleton, &mut verdicts).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    verdicts.print();
    Ok(())
}

async fn compare(simpleton: &Simpleton, model: &Model, stream: bool, verdicts: &mut Verdicts) -> Result<()> {
    let name = if stream { "streamed" } else { "whole" };
    let &Model { name: model, rounds, tokens } = model;
    // Without a seed: one would switch off the engine's cache of prompts on our side only.
    let question = format!(
        "\"messages\":[{{\"role\":\"user\",\"content\":\"{PROMPT}\"}}],\"max_tokens\":{tokens},\"temperature\":0"
    );
    let body = format!("{{\"model\":\"{model}\",{question},\"stream\":{stream}}}");
    let key = format!("x-api-key: {KEY}\r\n");
    let ours = Target::post("simpleton", simpleton.address, "/inference/chat", &key, &body);
    // Loads the model, and with it starts the process to compare with.
    ask(&ours, 1).await?;
    let socket = engine_socket(simpleton.program.pid())?;
    let options = if stream { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
    let body = format!("{{{question},\"stream\":{stream}{options}}}");
    let direct = Target::post("direct", socket, "/v1/chat/completions", "", &body);
    for parallel in PARALLEL {
        heading(&format!("Model {model}, replies {name}, {parallel} at once"));
        let mut rates: [Values; 2] = Default::default();
        let (mut costs, mut ratios) = (Values::default(), Values::default());
        for round in 0..=rounds {
            // Who goes first changes, so that nobody always has the machine while it is cool.
            let mut pair = [0.0; 2];
            for at in [round % 2, (round + 1) % 2] {
                let before = processor::own_time(simpleton.program.pid())?;
                let began = Instant::now();
                let target = [&direct, &ours][at];
                let tokens: u64 = try_join_all((0..parallel).map(|_| ask_until(target, began + TIME)))
                    .await?
                    .into_iter()
                    .sum();
                pair[at] = tokens as f64 / began.elapsed().as_secs_f64();
                // The first round warms up.
                if round > 0 {
                    rates[at].add(pair[at]);
                    if at == 1 {
                        let used = processor::own_time(simpleton.program.pid())?.saturating_sub(before);
                        costs.add(microseconds(used) / tokens as f64);
                    }
                }
            }
            if round > 0 {
                // Of two turns in a row: what else the machine does changes from second to second.
                ratios.add(pair[1] / pair[0]);
            }
        }
        let [direct, ours] = rates.each_mut().map(|rates| [0.5, 0.0, 1.0].map(|share| rates.quantile(share)));
        for (name, [median, least, most]) in [("direct", direct), ("simpleton", ours)] {
            println!("  {name:<10} {median:>7.0} tokens/s   (from {least:.0} to {most:.0})");
        }
        println!("  simpleton's own processor time: {:.1} µs a token", costs.median());
        let ratio = ratios.median();
        let what = format!("tokens per second, {model} {name}, {parallel} at once");
        verdicts.add(&what, format!("{ratio:.3} x"), ">= 0.970 x", ratio >= 0.97);
    }
    Ok(())
}

async fn ask(target: &Target, times: usize) -> Result<u64> {
    let mut connection = Connection::open(&target.address).await?;
    let mut tokens = 0;
    for _ in 0..times {
        tokens += generated(connection.call(&target.request).await?)?;
    }
    Ok(tokens)
}

async fn ask_until(target: &Target, end: Instant) -> Result<u64> {
    let mut connection = Connection::open(&target.address).await?;
    let mut tokens = 0;
    while Instant::now() < end {
        tokens += generated(connection.call(&target.request).await?)?;
    }
    Ok(tokens)
}

/// The number of tokens at the end of a reply, in Ollama's words or in OpenAI's.
fn generated(reply: &[u8]) -> Result<u64> {
    let text = String::from_utf8_lossy(reply);
    let names = ["\"eval_count\":", "\"completion_tokens\":"];
    let digits = names.into_iter().find_map(|name| text.rsplit_once(name)).ok_or_else(|| text.clone())?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Ok(digits[..end].parse()?)
}

/// Returns the socket that the engine's child listens on, from its own command line.
fn engine_socket(pid: u32) -> Result<PathBuf> {
    for child in processor::children(pid)? {
        let line = fs::read(Path::new("/proc").join(child.to_string()).join("cmdline"))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0').skip_while(|word| *word != "--host");
        if let Some(socket) = words.nth(1) {
            return Ok(socket.into());
        }
    }
    Err("the engine has no child".into())
}

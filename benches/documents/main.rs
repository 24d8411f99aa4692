//! Benchmark of documents with the real models. How well questions find their passages and are answered, over
//! Simpleton's own documentation and over a manual that Debian ships (questions.rs); what ingestion costs beside
//! embedding; how long a PDF of 300 pages takes. The memory of a large store is in the benchmark `vectors`.
//! usage: cargo bench --bench documents -- [search] [answers] [ingest] [pdf]
//! QUESTIONS=30 sets how many questions of each set are answered, MODE=vector how their passages are found, and
//! MEGABYTES=1 how much is ingested with the real model. SHOW=1 lists the questions that were not answered right.
//! SIMPLETON_BENCH_MANUALS is the folder of unpacked Debian packages, which `make bench` downloads.
//! The engine and the models are those of SIMPLETON_TEST_ENGINE, _EMBEDDING and _TEXT, or of the default data folder.

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/real_models.rs"]
mod real_models;

mod answers;
mod corpus;
mod ingest;
mod instant;
mod manuals;
mod pdf;
mod questions;
mod search;
mod server;

use std::{error::Error, str::FromStr};

use llama_server::llama_server;
use real_models::real_model;
use server::Server;
use support::{Result, children::import, report::Verdicts, wanted};

const EMBEDDING: &str = "all-minilm";
const TEXT: &str = "qwen2.5-coder:0.5b";

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut verdicts = Verdicts::default();
    for model in [EMBEDDING, TEXT] {
        import(folder.path(), model, &real_model(model))?;
    }
    let engine = llama_server();
    let variables = [("LLAMA_SERVER", &*engine.to_string_lossy()), ("DEFAULT_INFERENCE_MODEL", TEXT)];
    let server = Server::start(folder.path(), &variables)?;
    if wanted("search") || wanted("answers") {
        for set in questions::sets(&server).await? {
            if wanted("search") {
                search::measure(&server, &set).await?;
            }
            if wanted("answers") {
                answers::measure(&server, &set).await?;
            }
        }
    }
    if wanted("ingest") {
        ingest::measure(&server, folder.path(), &mut verdicts).await?;
    }
    if wanted("pdf") {
        pdf::measure(&server, &mut verdicts).await?;
    }
    verdicts.print();
    Ok(())
}

/// A number or name from the environment.
fn setting<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(name: &str, usual: T) -> Result<T> {
    std::env::var(name).map_or(Ok(usual), |value| value.parse().map_err(Into::into))
}

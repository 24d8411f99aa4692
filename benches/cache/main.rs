//! Benchmarks of the cache: hits beside a bare axum route that answers with the same bytes,
//! misses beside a server whose cache is off, and memory over a long run. All take turns within one
//! run. usage: cargo bench --bench cache -- [hits] [misses] [soak]
//! SOAK=1000000 sets how many requests the soak sends. Misses with Redis need redis-server on PATH.

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod bare;
mod hits;
mod misses;
mod soak;

use support::{
    Result,
    children::{KEY, Simpleton},
    client::Target,
    report::Verdicts,
    upstream, wanted,
};

fn main() -> Result<()> {
    if bare::is_wanted() {
        return bare::serve();
    }
    let folder = tempfile::tempdir()?;
    let upstream = upstream::start()?;
    let mut verdicts = Verdicts::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted("hits") {
            hits::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        if wanted("misses") {
            misses::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        if wanted("soak") {
            soak::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    verdicts.print();
    Ok(())
}

/// A chat that is not streamed.
fn chat(name: &'static str, simpleton: &Simpleton, prompt: &str) -> Target {
    let key = format!("x-api-key: {KEY}\r\n");
    Target::post(name, simpleton.address, "/inference/chat", &key, &body(prompt))
}

fn body(prompt: &str) -> String {
    let model = upstream::MODEL;
    format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}")
}

//! Benchmarks of monitoring: recording one request, requests per second with and
//! without it, unauthenticated callers who try paths and models, a week of figures, and memory over a long run.
//! usage: cargo bench --bench monitoring -- [record] [rates] [unauthenticated] [week] [soak]
//! SOAK=1000000 sets how many requests the soak sends.

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod rates;
mod record;
mod soak;
mod unauthenticated;
mod week;

use support::{
    Result,
    children::{KEY, Simpleton},
    client::Target,
    report::Verdicts,
    upstream, wanted,
};

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let upstream = upstream::start()?;
    let mut verdicts = Verdicts::default();
    if wanted("record") {
        record::measure(&mut verdicts)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted("rates") {
            rates::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        if wanted("unauthenticated") {
            unauthenticated::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        if wanted("week") {
            week::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        if wanted("soak") {
            soak::measure(folder.path(), upstream, &mut verdicts).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    verdicts.print();
    Ok(())
}

/// A chat that the cache answers from its second time on.
fn chat(name: &'static str, simpleton: &Simpleton) -> Target {
    let model = upstream::MODEL;
    let body =
        format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}");
    Target::post(name, simpleton.address, "/inference/chat", &key(), &body)
}

/// The header with the key.
fn key() -> String {
    format!("x-api-key: {KEY}\r\n")
}

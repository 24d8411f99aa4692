//! Benchmarks of the overhead in front of a server, beside nginx as a plain reverse proxy in front of the
//! same one: latency, throughput, streaming, memory and start. All take turns within one run, so
//! that the ratios hold on any machine, whatever else it does.
//! usage: cargo bench --bench overhead -- [latency] [throughput] [streaming] [dialects] [start]

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod dialects;
mod nginx;
mod plain;
mod start;
mod streaming;

use std::{net::SocketAddr, path::Path};

use support::{
    Result,
    children::{KEY, Simpleton},
    client::Target,
    report::Verdicts,
    upstream, wanted,
};

/// Everything that is compared, running.
struct Stage {
    nginx: nginx::Nginx,
    simpleton: Simpleton,
    upstream: SocketAddr,
}

fn main() -> Result<()> {
    raise_file_limit();
    let folder = tempfile::tempdir()?;
    let upstream = upstream::start()?;
    let mut verdicts = Verdicts::default();
    if wanted("start") {
        start::measure(folder.path(), upstream, &mut verdicts)?;
    }
    if ["latency", "throughput", "streaming", "dialects"].into_iter().any(wanted) {
        let stage = Stage::set(folder.path(), upstream)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            if wanted("latency") {
                plain::latency(&stage, &mut verdicts).await?;
            }
            if wanted("throughput") {
                plain::throughput(&stage, &mut verdicts).await?;
            }
            if wanted("streaming") {
                streaming::measure(&stage, &mut verdicts).await?;
            }
            if wanted("dialects") {
                dialects::measure(&stage, &mut verdicts).await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })?;
    }
    verdicts.print();
    Ok(())
}

impl Stage {
    fn set(folder: &Path, upstream: SocketAddr) -> Result<Self> {
        let url = format!("http://{upstream}");
        let simpleton = Simpleton::start(folder, &[("OLLAMA_BASE_URL", &url), ("CACHE_ENABLED", "false")])?;
        Ok(Self { nginx: nginx::Nginx::start(folder, upstream)?, simpleton, upstream })
    }

    /// The same question asked directly, through nginx, through Simpleton and through its OpenAI API, in this order.
    fn targets(&self, prompt: &str, stream: bool) -> [Target; 4] {
        let model = upstream::MODEL;
        let body = format!(
            "{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}],\"stream\":{stream}}}"
        );
        let unbuffered = if stream { "/stream/api/chat" } else { "/api/chat" };
        let key = format!("x-api-key: {KEY}\r\n");
        [
            Target::post("direct", self.upstream, "/api/chat", "", &body),
            Target::post("nginx", self.nginx.address, unbuffered, "", &body),
            Target::post("simpleton", self.simpleton.address, "/inference/chat", &key, &body),
            Target::post("openai", self.simpleton.address, "/v1/chat/completions", &key, &body),
        ]
    }

    /// The process that serves each target; the direct one is ours and not measured.
    fn pids(&self) -> [Option<u32>; 4] {
        let simpleton = Some(self.simpleton.program.pid());
        [None, Some(self.nginx.program.pid()), simpleton, simpleton]
    }
}

/// Each stream takes two descriptors here, and many systems start with 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // When it cannot be raised, what needs it says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

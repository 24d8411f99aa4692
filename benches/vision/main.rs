//! Benchmarks of images: decoding, scaling and encoding apart, a whole upload until the backend has
//! it, and what 64 large uploads at once do to the memory and to other requests.
//! usage: cargo bench --bench vision -- [stages] [upload] [crowd]

#[expect(dead_code, reason = "shared by all benchmarks, each of which uses its part")]
#[path = "../support/mod.rs"]
mod support;

mod crowd;
mod photo;
mod stages;
mod upload;

use support::{
    Result,
    children::{KEY, Simpleton},
    client::Target,
    report::Verdicts,
    upstream, wanted,
};

fn main() -> Result<()> {
    let mut verdicts = Verdicts::default();
    if wanted("stages") {
        stages::measure()?;
    }
    if wanted("upload") || wanted("crowd") {
        let folder = tempfile::tempdir()?;
        let ollama = format!("http://{}", upstream::start()?);
        // The same image would be answered from the cache.
        let variables = [("OLLAMA_BASE_URL", &*ollama), ("CACHE_ENABLED", "false")];
        let simpleton = Simpleton::start(folder.path(), &variables)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            if wanted("upload") {
                upload::measure(&simpleton, &mut verdicts).await?;
            }
            if wanted("crowd") {
                crowd::measure(&simpleton, &mut verdicts).await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })?;
    }
    verdicts.print();
    Ok(())
}

/// A file as curl sends it with `-F file=@photo.jpg -F 'prompt=…'`.
fn form(simpleton: &Simpleton, file: &[u8]) -> Target {
    let key = format!("x-api-key: {KEY}\r\n");
    let fields = [("prompt", "Describe this image in detail")];
    Target::upload(simpleton.address, "/vision/upload", &key, ("photo.jpg", file), &fields)
}

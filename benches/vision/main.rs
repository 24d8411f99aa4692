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
    let mut body = b"--boundary\r\ncontent-disposition: form-data; name=\"file\"; filename=\"photo.jpg\"\r\ncontent-type: image/jpeg\r\n\r\n".to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--boundary\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nDescribe this image in detail\r\n--boundary--\r\n");
    let head = format!(
        "POST /vision/upload HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\ncontent-type: multipart/form-data; boundary=boundary\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.into_bytes(), body].concat();
    Target { name: "upload", address: simpleton.address.into(), request }
}

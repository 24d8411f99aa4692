//! Models laid out by hand in Ollama's layout.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Writes a blob, and returns a manifest's layer for it. `kind` is the end of its media type.
pub fn layer(models: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let blobs = models.join("blobs");
    fs::create_dir_all(&blobs).expect("the blobs folder");
    fs::write(blobs.join(format!("sha256-{digest}")), bytes).expect("a blob");
    json!({
        "mediaType": format!("application/vnd.ollama.image.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": bytes.len()
    })
}

/// Writes the manifest of a model of Ollama's library with the tag `latest`.
pub fn manifest(models: &Path, name: &str, layers: &[Value]) {
    let folder = models.join("manifests/registry.ollama.ai/library").join(name);
    fs::create_dir_all(&folder).expect("the manifest's folder");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer(models, "config", b"{}"),
        "layers": layers
    });
    fs::write(folder.join("latest"), manifest.to_string()).expect("a manifest");
}

/// The demo's weights.
pub fn demo() -> Vec<u8> {
    fs::read("models/demo/simpleton-demo.gguf").expect("the demo")
}

//! A scripted Hugging Face: lists of files, redirects to a server for large files, and ranges.

use std::fs;

use serde_json::{Value, json};
use simpleton::{error::Kind, types::Capability};

use crate::{
    gguf_split::split,
    harness::{Rig, digest},
    scripted::{Reply, Scripted},
};

const TOKEN: &str = "hf_secret";

fn entry(path: &str, bytes: &[u8]) -> Value {
    let oid = digest(bytes).replace("sha256:", "");
    json!({ "type": "file", "oid": "git", "size": bytes.len(), "path": path, "lfs": { "oid": oid, "size": bytes.len(), "pointerSize": 134 } })
}

struct Hub {
    hub: Scripted,
    cdn: Scripted,
}

/// Names of the parts of a split model.
const PARTS: [&str; 2] = ["Q5_0/Demo-Q5_0-00001-of-00002.gguf", "Q5_0/Demo-Q5_0-00002-of-00002.gguf"];

impl Hub {
    /// The repository me/Demo-GGUF, in a list of two pages.
    async fn start() -> Self {
        let weights = fs::read("models/demo/simpleton-demo.gguf").unwrap();
        let projector = fs::read("models/demo/simpleton-demo-mmproj.gguf").unwrap();
        let parts = split(&weights, 2);
        let first = json!([
            entry(PARTS[1], &parts[1]),
            entry(PARTS[0], &parts[0]),
            { "type": "directory", "oid": "x", "size": 0, "path": "old" },
            { "type": "file", "oid": "x", "size": 7, "path": "README.md" },
            entry("Demo-Q8_0.gguf", b"another one"),
            entry("mmproj-Demo-f16.gguf", &projector),
        ]);
        let second = json!([
            entry("Demo-Q4_K_M.gguf", &weights),
            entry("old/Demo #1-Q2_K.gguf", &weights),
            entry("gated-F32.gguf", b"restricted")
        ]);
        let cdn = Scripted::start(move |request| {
            let part = PARTS.iter().position(|part| request.path.starts_with(&format!("/{part}")));
            match part {
                Some(part) => Reply::file(request, &parts[part]),
                None if request.path.contains("mmproj") => Reply::file(request, &projector),
                None => Reply::file(request, &weights),
            }
        })
        .await;
        let cdn_url = cdn.url();
        let hub = Scripted::start(move |request| {
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            match path.strip_prefix("/me/Demo-GGUF/resolve/main/") {
                Some(file) if file.contains("gated") => Reply::status(403),
                Some(file) => Reply::redirect(&format!("{cdn_url}/{file}?signature=once")),
                None if path != "/api/models/me/Demo-GGUF/tree/main" => Reply::status(401),
                None if query.contains("cursor") => Reply::json(&second),
                None => {
                    let link =
                        "link: </api/models/me/Demo-GGUF/tree/main?recursive=true&cursor=2>; rel=\"next\"";
                    Reply::Whole(200, link.to_owned(), first.to_string().into_bytes())
                }
            }
        })
        .await;
        Self { hub, cdn }
    }

    fn rig(&self) -> Rig {
        let trusted = format!("https://registry.ollama.ai,{}", self.cdn.url());
        Rig::with(&["--hf-endpoint", &self.hub.url(), "--model-registry", &trusted, "--hf-token", TOKEN])
    }
}

#[tokio::test]
async fn a_repository_is_pulled_with_its_projector() {
    let hub = Hub::start().await;
    let rig = hub.rig();
    rig.pull("hf.co/me/Demo-GGUF").await.unwrap();
    rig.check_installed("hf.co/me/demo-gguf:latest");
    let entry = rig.store.find(&"hf.co/me/Demo-GGUF".parse().unwrap()).unwrap().unwrap();
    assert!(entry.model.can(Capability::Vision));
    // The token stays with Hugging Face.
    let bearer = format!("Bearer {TOKEN}");
    assert!(hub.hub.requests().iter().all(|request| request.header("authorization") == Some(&bearer)));
    assert!(hub.cdn.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(hub.cdn.requests().iter().all(|request| request.path.ends_with("?signature=once")));
    // Where a file is kept is asked once.
    let asked = hub.hub.requests().iter().filter(|request| request.path.contains("/resolve/")).count();
    assert!(asked == 2 && hub.cdn.requests().len() > 2, "{asked}");
}

#[tokio::test]
async fn a_quantization_is_pulled_by_its_name() {
    let hub = Hub::start().await;
    let rig = hub.rig();
    rig.pull("https://huggingface.co/me/Demo-GGUF:q2_k").await.unwrap();
    rig.check_installed("huggingface.co/me/Demo-GGUF:Q2_K");
    let error = rig.failure("hf.co/me/Demo-GGUF:Q3_K_S").await;
    assert_eq!(
        error.message(),
        "me/Demo-GGUF has no file for Q3_K_S; it has these: Q8_0, F32, Q4_K_M, Q5_0, Q2_K."
    );
    assert_eq!(error.kind(), Kind::NotFound);
    let error = rig.failure("hf.co/me/Demo-GGUF:Q8_0").await;
    assert!(error.message().contains("longer than the 11 bytes"), "{error}");
    let error = rig.failure("hf.co/me/Demo-GGUF:F32").await;
    assert!(error.message().ends_with("accept the model's terms there, and set HF_TOKEN."), "{error}");
    assert_eq!(error.kind(), Kind::Forbidden);
    let error = rig.failure("hf.co/you/Demo-GGUF").await;
    assert!(error.message().contains("has no repository you/Demo-GGUF, or it is private"), "{error}");
    assert!(error.message().contains("HF_TOKEN") && !format!("{error:?}").contains(TOKEN), "{error:?}");
}

#[tokio::test]
async fn a_split_model_is_pulled_whole() {
    let hub = Hub::start().await;
    let rig = hub.rig();
    let name = "hf.co/me/Demo-GGUF:Q5_0";
    rig.pull(name).await.unwrap();
    rig.check_installed(name);
    let entry = rig.store.find(&name.parse().unwrap()).unwrap().unwrap();
    assert_eq!((entry.parts.len(), entry.model.parameter_size.as_deref()), (2, Some("2.6M")));
    // The engine finds the parts beside each other, under the names that it expects.
    for (part, name) in entry.parts.iter().zip(["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]) {
        let link = entry.weights.with_file_name(name);
        assert_eq!(fs::canonicalize(link).unwrap(), fs::canonicalize(&part.path).unwrap());
    }
    rig.store.remove(&name.parse().unwrap()).unwrap();
    assert!(!entry.weights.parent().unwrap().exists() && rig.blob_names().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_configured_gets_no_request() {
    let hub = Hub::start().await;
    let rig = Rig::with(&["--hf-endpoint", &hub.hub.url()]);
    let error = rig.failure("hf.co/me/Demo-GGUF").await;
    assert!(error.message().contains("is not an https:// URL"), "{error}");
    assert!(hub.cdn.requests().is_empty());
    assert!(!format!("{error:?}").contains("signature"), "{error:?}");
}

//! A model store and a puller of a test's own, and models in Ollama's form.

use std::{fs, path::PathBuf, time::Duration};

use clap::Parser;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simpleton::{
    error::{Error, Result},
    model_store::{
        ModelStore,
        pull::{Pace, Progress, Pull, Puller, Settings},
    },
};
use tempfile::TempDir;

/// For slow machines that do much else.
pub const DEADLINE: Duration = Duration::from_secs(50);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    pull: Settings,
}

/// Retries soon, so that tests of failures are quick.
fn quick() -> Pace {
    Pace {
        headers_timeout: Duration::from_secs(20),
        window: Duration::from_secs(10),
        least_bytes: 1000,
        attempts: 3,
        backoff: Duration::from_millis(20),
        longest_backoff: Duration::from_millis(100),
    }
}

pub struct Rig {
    pub puller: Puller,
    pub store: ModelStore,
    pub folder: TempDir,
    flags: Vec<String>,
}

/// Gives up at once.
fn impatient() -> Pace {
    Pace { headers_timeout: Duration::from_secs(1), window: Duration::from_millis(300), ..quick() }
}

impl Rig {
    /// Pulls names without a host from `registry`.
    pub fn new(registry: &str) -> Self {
        Self::with(&["--model-registry", registry])
    }

    /// With short timeouts.
    pub fn impatient(registry: &str) -> Self {
        Self::with_pace(&["--model-registry", registry], impatient())
    }

    pub fn with(flags: &[&str]) -> Self {
        Self::with_pace(flags, quick())
    }

    fn with_pace(flags: &[&str], pace: Pace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (store, puller) = open(&folder, &flags, pace);
        Self { puller, store, folder, flags }
    }

    /// Another program's view of the same folder.
    pub fn other_puller(&self) -> Puller {
        open(&self.folder, &self.flags, quick()).1
    }

    /// Pulls a model and returns all its progress, or its error.
    pub async fn pull(&self, name: &str) -> Result<Vec<Progress>> {
        finish(self.puller.pull(&name.parse().unwrap())).await
    }

    pub async fn failure(&self, name: &str) -> Error {
        let error = self.pull(name).await.expect_err("it cannot be pulled");
        assert!(self.store.find(&name.parse().unwrap()).unwrap().is_none(), "{name} is installed");
        error
    }

    pub fn blobs(&self) -> PathBuf {
        self.folder.path().join("models/blobs")
    }

    /// Names in the blobs folder, whole ones and others.
    pub fn blob_names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.blobs()) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Checks that a model is installed and its files are right, and that nothing else is left.
    pub fn check_installed(&self, name: &str) {
        let entry = self.store.find(&name.parse().unwrap()).unwrap().expect("it is installed");
        let fresh = ModelStore::open(self.folder.path().join("models")).unwrap();
        fresh.verify(&entry, &tokio_util::sync::CancellationToken::new()).unwrap();
        let names = self.blob_names();
        assert!(names.iter().all(|name| name.starts_with("sha256-")), "{names:?}");
    }
}

fn open(folder: &TempDir, flags: &[String], pace: Pace) -> (ModelStore, Puller) {
    let store = ModelStore::open(folder.path().join("models")).unwrap();
    let settings = Flags::parse_from(["pull".to_owned()].iter().chain(flags)).pull;
    let puller = Puller::new(store.clone(), &settings, pace).unwrap();
    (store, puller)
}

pub async fn finish(mut pull: Pull) -> Result<Vec<Progress>> {
    let all = async {
        let mut steps = Vec::new();
        while let Some(progress) = pull.next().await {
            steps.push(progress?);
        }
        Ok(steps)
    };
    tokio::time::timeout(DEADLINE, all).await.expect("a pull ends")
}

pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A model in Ollama's form.
#[derive(Clone)]
pub struct Model {
    /// Media types and contents; the config is the last one.
    pub blobs: Vec<(&'static str, Vec<u8>)>,
}

pub const WEIGHTS: &str = "application/vnd.ollama.image.model";
pub const PROJECTOR: &str = "application/vnd.ollama.image.projector";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Model {
    /// The demo model with everything that Ollama's models have.
    pub fn demo() -> Self {
        let text = |text: &str| text.as_bytes().to_vec();
        Self {
            blobs: vec![
                (WEIGHTS, fs::read("models/demo/simpleton-demo.gguf").unwrap()),
                (PROJECTOR, fs::read("models/demo/simpleton-demo-mmproj.gguf").unwrap()),
                ("application/vnd.ollama.image.template", text("{{ .Prompt }}")),
                ("application/vnd.ollama.image.params", text(r#"{"stop":["<|end|>"],"temperature":0.5}"#)),
                ("application/vnd.ollama.image.system", text("You are a demo.")),
                ("application/vnd.ollama.image.license", text("Apache-2.0")),
                (CONFIG, text(r#"{"model_format":"gguf"}"#)),
            ],
        }
    }

    /// The weights only, with some bytes after them that make the file as long as those of a small real model.
    pub fn large() -> Self {
        let mut weights = fs::read("models/demo/simpleton-demo.gguf").unwrap();
        let mut noise = 1_u32;
        weights.resize_with(24 << 20, || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        Self { blobs: vec![(WEIGHTS, weights), (CONFIG, b"{}".to_vec())] }
    }

    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    pub fn manifest(&self) -> Value {
        let layer = |(media_type, bytes): &(&str, Vec<u8>)| json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
        let (config, layers) = self.blobs.split_last().unwrap();
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": layer(config), "layers": layers })
    }

    pub fn blob(&self, digest_: &str) -> Option<&[u8]> {
        self.blobs.iter().map(|(_, bytes)| bytes.as_slice()).find(|bytes| digest(bytes) == digest_)
    }
}

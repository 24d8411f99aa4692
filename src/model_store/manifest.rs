//! Ollama's manifests: the list of a model's blobs, and the path of a model's manifest.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{cannot_run, digest::Digest};
use crate::{error::Result, files, types::ModelName};

/// Real manifests have about 1 kB.
const MAX_BYTES: u64 = 1 << 20;

/// Types of manifests that are understood: Docker's and its successor.
pub(super) const ACCEPTED: &str =
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
const MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Beginning of the types of all layers.
pub(super) const LAYER_PREFIX: &str = "application/vnd.ollama.image.";
pub(super) const MODEL: &str = "application/vnd.ollama.image.model";
pub(super) const PROJECTOR: &str = "application/vnd.ollama.image.projector";
pub(super) const TEMPLATE: &str = "application/vnd.ollama.image.template";
pub(super) const PARAMETERS: &str = "application/vnd.ollama.image.params";
pub(super) const SYSTEM: &str = "application/vnd.ollama.image.system";
pub(super) const MESSAGES: &str = "application/vnd.ollama.image.messages";
pub(super) const ADAPTER: &str = "application/vnd.ollama.image.adapter";
pub(super) const LICENSE: &str = "application/vnd.ollama.image.license";

/// A manifest as it is in the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<Layer>,
    /// `null` in the manifests of models that run in Ollama's cloud.
    layers: Option<Vec<Layer>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
}

impl Manifest {
    pub(super) fn new(config: Layer, layers: Vec<Layer>) -> Self {
        Self {
            schema_version: 2,
            media_type: MEDIA_TYPE.to_owned(),
            config: Some(config),
            layers: Some(layers),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    pub(super) fn layers_of<'a>(&'a self, media_type: &str) -> impl Iterator<Item = &'a Layer> {
        self.layers().filter(move |layer| layer.media_type == media_type)
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().flatten()
    }

    /// All layers and the config.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Layer> {
        self.layers().chain(&self.config)
    }

    /// Bytes of all layers and the config.
    pub(super) fn size(&self) -> u64 {
        self.blobs().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// Returns the GGUF file with the model, or its parts in order. Other models of Ollama's are refused: without its
    /// adapter, a model would answer as another one.
    pub(super) fn weights(&self, name: &ModelName) -> Result<Vec<&Layer>> {
        if self.layers_of(ADAPTER).next().is_some() {
            return Err(cannot_run(name, "it needs a LoRA adapter"));
        }
        let weights: Vec<&Layer> = self.layers_of(MODEL).collect();
        if weights.is_empty() { Err(cannot_run(name, "it has no GGUF file")) } else { Ok(weights) }
    }
}

/// Path of a model's manifest in a models folder.
pub(super) fn path(models: &Path, name: &ModelName) -> PathBuf {
    folder(models).join(&name.host).join(&name.namespace).join(&name.name).join(&name.tag)
}

/// Returns the name of an installed model in the case in which it is stored. Of several that differ only in case, an
/// exact match counts. The name of a model that is not installed is returned unchanged.
pub(super) fn installed(models: &Path, name: &ModelName) -> ModelName {
    if path(models, name).is_file() {
        return name.clone();
    }
    let found = search(models, Some(name)).manifests.into_iter().next();
    found.map_or_else(|| name.clone(), |(installed, _)| installed)
}

pub(super) fn folder(models: &Path) -> PathBuf {
    models.join("manifests")
}

/// The bytes of a manifest.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    files::read(path, MAX_BYTES)
}

/// Manifests found below the manifests folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) manifests: Vec<(ModelName, PathBuf)>,
    /// Folders that cannot be read.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// Finds all manifests.
pub(super) fn find_all(models: &Path) -> Found {
    search(models, None)
}

/// Finds the manifests of one model in all cases, or all manifests. Files without the name of a model (`.DS_Store`, unfinished files) are skipped, and so are pipes
/// and devices. Links to folders are not followed, because they may lead anywhere, except for the manifests folder
/// itself, unless its link leads to a folder above it.
fn search(models: &Path, name: Option<&ModelName>) -> Found {
    let mut found = Found::default();
    let manifests = folder(models);
    let leads_upwards = match (manifests.canonicalize(), models.canonicalize()) {
        (Ok(manifests), Ok(models)) => models.starts_with(manifests),
        _ => false,
    };
    if !leads_upwards {
        descend(&manifests, name, &mut Vec::new(), &mut found);
    }
    found
}

fn descend(folder: &Path, name: Option<&ModelName>, parts: &mut Vec<String>, found: &mut Found) {
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        // A folder that was removed meanwhile or never created has no models.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return found.unreadable.push((folder.to_owned(), error)),
    };
    for entry in entries {
        let (path, Ok(part)) = (entry.path(), entry.file_name().into_string()) else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if name.is_some_and(|name| !name.parts()[parts.len()].eq_ignore_ascii_case(&part)) {
            continue;
        }
        parts.push(part);
        match parts.as_slice() {
            [host, namespace, name, tag] if kind.is_file() || kind.is_symlink() => {
                if let Ok(name) = format!("{host}/{namespace}/{name}:{tag}").parse() {
                    found.manifests.push((name, path));
                }
            }
            [_] | [_, _] | [_, _, _] if kind.is_dir() => descend(&path, name, parts, found),
            _ => {}
        }
        parts.pop();
    }
}

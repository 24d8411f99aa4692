//! From a manifest to an `Entry`, remembered until one of the files behind it changes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    ModelStore, Stamp, at, blobs_of, damaged, describe,
    digest::Digest,
    entry::Entry,
    gguf::{self, Header},
    lock,
    manifest::{self, Layer, Manifest},
    refused, unreadable,
};
use crate::{
    error::Result,
    types::{Context, ControlTokens, Model, ModelName},
};

/// Mark of an image in a prompt of llama-server's; newer ones make one up at each start.
const MEDIA_MARK: &str = "<__media__>";

/// Contents of one manifest and its files. Failures are not cached: they are rare, and reading the files
/// again detects when they are repaired.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The manifest's and the GGUF files'.
    stamps: Vec<(PathBuf, Stamp)>,
    entry: Arc<Entry>,
}

impl ModelStore {
    /// The model of a manifest in a models folder, `None` when the manifest is not there.
    pub(super) fn load(&self, folder: &Path, name: &ModelName, path: &Path) -> Result<Option<Arc<Entry>>> {
        if let Some(entry) = self.remembered(path) {
            return Ok(Some(entry));
        }
        // The stamp is taken first: what changes while it is read is read again next time.
        let read = Stamp::of(path).and_then(|stamp| Ok((stamp, manifest::read(path)?)));
        let (stamp, bytes) = match read {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(name).with_source(at(path, &error))),
        };
        let manifest = Manifest::parse(&bytes)
            .map_err(|source| damaged(name, "its manifest is not valid").with_source(at(path, &source)))?;
        let mut files = Files { folder, name, stamps: vec![(path.to_owned(), stamp)] };
        let mut entry = files.entry(&manifest)?;
        entry.model.digest = Digest::of(&bytes).hex().to_owned();
        entry.model.modified_at = stamp.modified.and_then(|modified| Timestamp::try_from(modified).ok());
        let loaded = Loaded { stamps: files.stamps, entry: Arc::new(entry) };
        let entry = loaded.entry.clone();
        lock(&self.0.loaded).insert(path.to_owned(), loaded);
        Ok(Some(entry))
    }

    fn remembered(&self, path: &Path) -> Option<Arc<Entry>> {
        let loaded = lock(&self.0.loaded);
        let loaded = loaded.get(path)?;
        let unchanged = |(path, stamp): &(PathBuf, Stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp);
        loaded.stamps.iter().all(unchanged).then(|| loaded.entry.clone())
    }
}

/// Checks that a model can be used whose files are there, but whose manifest is not.
pub(super) fn check(folder: &Path, name: &ModelName, manifest: &Manifest) -> Result<()> {
    Files { folder, name, stamps: Vec::new() }.entry(manifest).map(drop)
}

/// Reads a model's GGUF files and notes the stamp of each.
struct Files<'a> {
    /// The models folder.
    folder: &'a Path,
    name: &'a ModelName,
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Files<'_> {
    /// Everything but what comes from the manifest's file itself.
    fn entry(&mut self, manifest: &Manifest) -> Result<Entry> {
        let weights = manifest.check_runnable(self.name)?;
        let (weights_path, header) = self.open(weights)?;
        let architecture =
            describe::architecture(&header).map_err(|fault| refused(self.name, &weights_path, &fault))?;
        let projector = manifest.layers_of(manifest::PROJECTOR).next();
        let projector_path = match projector {
            Some(layer) => {
                let (path, header) = self.open(layer)?;
                describe::check_projector(&header).map_err(|fault| refused(self.name, &path, &fault))?;
                Some(path)
            }
            None => None,
        };
        Ok(Entry {
            name: self.name.clone(),
            model: Model {
                name: self.name.to_string(),
                size: manifest.size(),
                modified_at: None,
                digest: String::new(),
                capabilities: describe::capabilities(&header, &architecture, projector.is_some()),
                context: Context { chosen: None, trained: Some(architecture.context_length) },
                family: Some(architecture.name.clone()),
                parameter_size: Some(describe::parameter_size(header.parameters)),
                quantization: describe::quantization(&header).map(str::to_owned),
                source: "embedded",
                loaded: false,
            },
            weights: weights_path,
            weights_digest: weights.digest.hex().to_owned(),
            projector: projector_path,
            projector_digest: projector.map(|layer| layer.digest.hex().to_owned()),
            control_tokens: Arc::new(ControlTokens::new(
                header.marks.into_iter().chain([MEDIA_MARK.to_owned()]),
            )),
            architecture,
        })
    }

    fn open(&mut self, layer: &Layer) -> Result<(PathBuf, Header)> {
        let path = blobs_of(self.folder).join(layer.digest.blob_name());
        let stamp = Stamp::of(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                damaged(self.name, "a file is missing").with_source(at(&path, &source))
            }
            _ => unreadable(self.name).with_source(at(&path, &source)),
        })?;
        if stamp.len != layer.size {
            let what = format!("a file has {} bytes instead of {}", stamp.len, layer.size);
            return Err(damaged(self.name, what).with_source(path.display().to_string()));
        }
        let header = gguf::read(&path).map_err(|fault| refused(self.name, &path, &fault))?;
        self.stamps.push((path.clone(), stamp));
        Ok((path, header))
    }
}

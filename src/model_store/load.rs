//! From a manifest to an `Entry`, remembered until one of the files behind it changes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    ModelStore, Stamp, at, blobs_of, chat_template, damaged,
    defaults::{Defaults, Parameters},
    describe,
    digest::Digest,
    entry::{Architecture, Entry, WeightsFile},
    gguf::{self, Header},
    lock,
    manifest::{self, Layer, Manifest},
    refused, split, unreadable,
};
use crate::{
    error::Result,
    files,
    types::{Context, ControlTokens, Model, ModelName},
};

/// Limit in bytes of a system prompt, a template or parameters; real ones have a few kB.
const MAX_TEXT: u64 = 1 << 20;

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
        let stamps = vec![(path.to_owned(), stamp)];
        let mut files = Files { own: &self.0.own, folder, name, stamps };
        let mut entry = files.entry(&manifest)?;
        entry.model.digest = Digest::of(&bytes).hex().to_owned();
        entry.model.modified_at = stamp.modified.and_then(|modified| Timestamp::try_from(modified).ok());
        let loaded = Loaded { stamps: files.stamps, entry: Arc::new(entry) };
        let entry = loaded.entry.clone();
        lock(&self.0.loaded).insert(path.to_owned(), loaded);
        Ok(Some(entry))
    }

    /// Checks that a model can be used whose files are there, but whose manifest is not.
    pub(super) fn check(&self, folder: &Path, name: &ModelName, manifest: &Manifest) -> Result<()> {
        Files { own: &self.0.own, folder, name, stamps: Vec::new() }.entry(manifest).map(drop)
    }

    fn remembered(&self, path: &Path) -> Option<Arc<Entry>> {
        let loaded = lock(&self.0.loaded);
        let loaded = loaded.get(path)?;
        let unchanged = |(path, stamp): &(PathBuf, Stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp);
        loaded.stamps.iter().all(unchanged).then(|| loaded.entry.clone())
    }
}

/// Reads a model's GGUF files and notes the stamp of each.
struct Files<'a> {
    /// Our own models folder.
    own: &'a Path,
    /// The models folder.
    folder: &'a Path,
    name: &'a ModelName,
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Files<'_> {
    /// Everything but what comes from the manifest's file itself.
    fn entry(&mut self, manifest: &Manifest) -> Result<Entry> {
        let (parts, mut headers) = self.weights(manifest)?;
        let parameters = headers.iter().map(|header| header.parameters).fold(0, u64::saturating_add);
        let header = headers.swap_remove(0);
        let architecture =
            describe::architecture(&header).map_err(|fault| refused(self.name, &parts[0].path, &fault))?;
        let projector = manifest.layers_of(manifest::PROJECTOR).next();
        let projector_path = match projector {
            Some(layer) => {
                let (path, header) = self.open(layer)?;
                describe::check_projector(&header).map_err(|fault| refused(self.name, &path, &fault))?;
                Some(path)
            }
            None => None,
        };
        let defaults = self.defaults(manifest)?;
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
                parameter_size: Some(describe::parameter_size(parameters)),
                quantization: describe::quantization(&header).map(str::to_owned),
                source: "embedded",
                loaded: false,
                defaults: Arc::new(defaults.for_requests()),
            },
            weights: split::weights_path(self.own, &parts),
            weights_digest: split::identity(&parts),
            parts,
            projector: projector_path,
            projector_digest: projector.map(|layer| layer.digest.hex().to_owned()),
            control_tokens: Arc::new(ControlTokens::new(
                header.marks.into_iter().chain([MEDIA_MARK.to_owned()]),
            )),
            chat_template: self.chat_template(&architecture, &defaults),
            architecture,
            defaults,
        })
    }

    /// Stands in for a template in the language of Go when the GGUF has none.
    fn chat_template(&self, architecture: &Architecture, defaults: &Defaults) -> Option<&'static str> {
        let template = defaults.template.as_deref()?;
        if architecture.has_chat_template || architecture.embedding_only {
            return None;
        }
        let built_in = chat_template::built_in(template);
        if built_in.is_none() {
            tracing::warn!(
                model = %self.name,
                "The GGUF file has no chat template, and the engine does not know the one in the manifest: chats use ChatML, and answers may be poor."
            );
        }
        built_in
    }

    fn weights(&mut self, manifest: &Manifest) -> Result<(Vec<WeightsFile>, Vec<Header>)> {
        let (mut parts, mut headers) = (Vec::new(), Vec::new());
        for layer in manifest.weights(self.name)? {
            let (path, header) = self.open(layer)?;
            parts.push(WeightsFile { path, digest: layer.digest.hex().to_owned() });
            headers.push(header);
        }
        describe::check_parts(&headers).map_err(|fault| refused(self.name, &parts[0].path, &fault))?;
        Ok((parts, headers))
    }

    fn defaults(&self, manifest: &Manifest) -> Result<Defaults> {
        let text = |media_type: &str| {
            let bytes = self.last_of(manifest, media_type)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let invalid = |source| damaged(self.name, "its parameters are not valid").with_source(source);
        let parameters = self.last_of(manifest, manifest::PARAMETERS)?;
        let parameters = parameters.map(|bytes| Parameters::parse(&bytes).map_err(invalid)).transpose()?;
        let messages = self.last_of(manifest, manifest::MESSAGES)?;
        let messages = messages.map(|bytes| serde_json::from_slice(&bytes).map_err(invalid)).transpose()?;
        Ok(Defaults {
            system: text(manifest::SYSTEM)?,
            template: text(manifest::TEMPLATE)?,
            license: text(manifest::LICENSE)?,
            messages: messages.unwrap_or_default(),
            parameters: parameters.unwrap_or_default(),
        })
    }

    /// The contents of a small layer; of several the last one counts.
    fn last_of(&self, manifest: &Manifest, media_type: &str) -> Result<Option<Vec<u8>>> {
        let Some(layer) = manifest.layers_of(media_type).last() else { return Ok(None) };
        let path = blobs_of(self.folder).join(layer.digest.blob_name());
        files::read(&path, MAX_TEXT).map(Some).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                damaged(self.name, "a file is missing").with_source(at(&path, &source))
            }
            _ => unreadable(self.name).with_source(at(&path, &source)),
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

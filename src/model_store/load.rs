//! From a manifest to an `Entry`, remembered until one of the files behind it changes.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{
    ModelStore, Stamp, at, blobs_of, chat_template, damaged, describe,
    digest::Digest,
    entry::{Architecture, Entry, WeightsFile},
    gguf::{self, Header},
    lock,
    manifest::{self, Layer, Manifest},
    modelfile::{self, Modelfile},
    refused, split, unavailable, unreadable,
};
use crate::{
    error::Result,
    files,
    types::{Context, ControlTokens, Model, ModelDefaults, ModelName},
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

/// Headers that were read for other models of the same list: models that are copies, or that share their weights or
/// projector, are read once.
#[derive(Default)]
pub(super) struct Headers(HashMap<PathBuf, (Stamp, Arc<Header>)>);

impl ModelStore {
    /// The model of a manifest in a models folder, `None` when the manifest is not there.
    pub(super) fn load(
        &self,
        folder: &Path,
        name: &ModelName,
        path: &Path,
        headers: &mut Headers,
    ) -> Result<Option<Arc<Entry>>> {
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
        let mut files = Files { own: &self.0.own, folder, name, stamps, headers };
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
        let (stamps, headers) = (Vec::new(), &mut Headers::default());
        Files { own: &self.0.own, folder, name, stamps, headers }.entry(manifest).map(drop)
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
    headers: &'a mut Headers,
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
        let modelfile = self.modelfile(manifest)?;
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
                defaults: Arc::clone(&modelfile.defaults),
            },
            weights: split::weights_path(self.own, &parts),
            weights_digest: split::identity(&parts),
            parts,
            projector: projector_path,
            projector_digest: projector.map(|layer| layer.digest.hex().to_owned()),
            control_tokens: Arc::new(ControlTokens::new(
                header.marks.iter().cloned().chain([MEDIA_MARK.to_owned()]),
            )),
            chat_template: self.chat_template(&architecture, &modelfile),
            architecture,
            modelfile,
        })
    }

    /// Stands in for a template in the language of Go when the GGUF has none.
    fn chat_template(&self, architecture: &Architecture, modelfile: &Modelfile) -> Option<&'static str> {
        let template = modelfile.template.as_deref()?;
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

    fn weights(&mut self, manifest: &Manifest) -> Result<(Vec<WeightsFile>, Vec<Arc<Header>>)> {
        let (mut parts, mut headers) = (Vec::new(), Vec::new());
        for layer in manifest.weights(self.name)? {
            let (path, header) = self.open(layer)?;
            parts.push(WeightsFile { path, digest: layer.digest.hex().to_owned() });
            headers.push(header);
        }
        describe::check_parts(&headers).map_err(|fault| refused(self.name, &parts[0].path, &fault))?;
        Ok((parts, headers))
    }

    fn modelfile(&self, manifest: &Manifest) -> Result<Modelfile> {
        let text = |media_type: &str| {
            let bytes = self.last_of(manifest, media_type)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let parameters = self.json(manifest, manifest::PARAMETERS)?.unwrap_or_default();
        let messages = self.json(manifest, manifest::MESSAGES)?.unwrap_or_default();
        let defaults = ModelDefaults {
            sampling: modelfile::sampling(&parameters),
            system: text(manifest::SYSTEM)?,
            messages: modelfile::turns(messages),
        };
        Ok(Modelfile {
            defaults: Arc::new(defaults),
            context: modelfile::context(&parameters),
            parameters,
            template: text(manifest::TEMPLATE)?,
            license: text(manifest::LICENSE)?,
        })
    }

    fn json<T: DeserializeOwned>(&self, manifest: &Manifest, media_type: &str) -> Result<Option<T>> {
        let Some(bytes) = self.last_of(manifest, media_type)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes).map(Some);
        parsed.map_err(|source| damaged(self.name, "its parameters are not valid").with_source(source))
    }

    /// The contents of a small layer; of several the last one counts.
    fn last_of(&self, manifest: &Manifest, media_type: &str) -> Result<Option<Vec<u8>>> {
        let Some(layer) = manifest.layers_of(media_type).last() else { return Ok(None) };
        let path = blobs_of(self.folder).join(layer.digest.blob_name());
        files::read(&path, MAX_TEXT).map(Some).map_err(|source| unavailable(self.name, &path, &source))
    }

    fn open(&mut self, layer: &Layer) -> Result<(PathBuf, Arc<Header>)> {
        let path = blobs_of(self.folder).join(layer.digest.blob_name());
        let stamp = Stamp::of(&path).map_err(|source| unavailable(self.name, &path, &source))?;
        if stamp.len != layer.size {
            let what = format!("a file has {} bytes instead of {}", stamp.len, layer.size);
            return Err(damaged(self.name, what).with_source(path.display().to_string()));
        }
        let header = match self.headers.0.get(&path) {
            Some((known, header)) if *known == stamp => Arc::clone(header),
            _ => {
                let header = gguf::read(&path).map_err(|fault| refused(self.name, &path, &fault))?;
                let header = Arc::new(header);
                self.headers.0.insert(path.clone(), (stamp, Arc::clone(&header)));
                header
            }
        };
        self.stamps.push((path.clone(), stamp));
        Ok((path, header))
    }
}

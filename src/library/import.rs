//! Taking a GGUF file into the library.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use super::{
    Library, at,
    blobs::{self, Staged, write_error},
    describe,
    digest::Digest,
    entry::Entry,
    gguf::{self, Fault, Header},
    manifest::{self, Layer, Manifest},
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

impl Library {
    /// Takes a GGUF file, and the projector that lets it see, into the library under `name`. What
    /// had that name before is replaced. The files are linked where the disk allows it and must
    /// not be changed afterwards.
    ///
    /// # Errors
    /// `Invalid` when a file cannot be read or is not what it should be, `Setup` when the models
    /// folder cannot be written to or the disk is full.
    pub fn import(&self, name: &ModelName, gguf: &Path, projector: Option<&Path>) -> Result<Arc<Entry>> {
        let header = gguf::read(gguf).map_err(|fault| refused(gguf, fault))?;
        describe::architecture(&header).map_err(|fault| refused(gguf, fault))?;
        if let Some(projector) = projector {
            gguf::read(projector)
                .and_then(|header| describe::check_projector(&header))
                .map_err(|fault| refused(projector, fault))?;
        }
        let folder = self.writable_blobs()?;
        let mut layers = vec![(manifest::MODEL, Staged::file(&folder, gguf)?)];
        if let Some(projector) = projector {
            layers.push((manifest::PROJECTOR, Staged::file(&folder, projector)?));
        }
        self.publish(name, &header, layers)?;
        self.find(name)?.ok_or_else(|| {
            Error::new(Kind::Setup, format!("The model {name} was removed while it was imported."))
        })
    }

    /// The folder for blobs, ready to be filled.
    pub(super) fn writable_blobs(&self) -> Result<PathBuf> {
        let folder = self.blobs();
        fs::create_dir_all(&folder).map_err(write_error)?;
        blobs::remove_abandoned(&folder).map_err(write_error)?;
        Ok(folder)
    }

    /// Gives complete files their names and then, last, makes a manifest point to them.
    pub(super) fn publish(
        &self,
        name: &ModelName,
        header: &Header,
        files: Vec<(&'static str, Staged)>,
    ) -> Result<()> {
        let folder = self.blobs();
        let layer = |(media_type, file): &(&str, Staged)| Layer {
            media_type: (*media_type).to_owned(),
            digest: file.digest.clone(),
            size: file.size,
        };
        let layers: Vec<Layer> = files.iter().map(layer).collect();
        let config = config(header, &layers);
        let manifest = manifest(&config, layers);
        let config = Staged::copy(&folder, &mut config.as_slice())?;

        let _writing = self.lock_for_writing()?;
        for file in files.into_iter().map(|(_, file)| file).chain([config]) {
            file.publish(&folder)?;
        }
        blobs::sync_folder(&folder).map_err(write_error)?;
        let path = manifest::path(&self.0.dir, name);
        let replaced = manifest::read(&path).unwrap_or_default();
        blobs::write_whole(&path, &manifest).map_err(write_error)?;
        self.remove_unused(&replaced);
        Ok(())
    }

    /// One process at a time adds to the library or removes from it: a blob that is new would look
    /// unused to another one. Held until the file is dropped.
    pub(super) fn lock_for_writing(&self) -> Result<File> {
        let path = self.0.dir.join(".simpleton.lock");
        let file = File::options().create(true).append(true).open(path).map_err(write_error)?;
        match file.lock() {
            // Some network disks have no locks; there the user is trusted to import one at a time.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(write_error(error)),
            _ => Ok(file),
        }
    }
}

/// The bytes of the manifest. The same files always give the same manifest.
pub(super) fn manifest(config: &[u8], layers: Vec<Layer>) -> Vec<u8> {
    let config = Layer {
        media_type: manifest::CONFIG.to_owned(),
        digest: Digest::of(config),
        size: config.len() as u64,
    };
    json!(Manifest::new(config, layers)).to_string().into_bytes()
}

/// What Ollama wants to know about a model before it opens its file.
pub(super) fn config(header: &Header, layers: &[Layer]) -> Vec<u8> {
    let family = header.text("general.architecture").unwrap_or_default();
    let has_projector = layers.iter().any(|layer| layer.media_type == manifest::PROJECTOR);
    let families = if has_projector { vec![family, "clip"] } else { vec![family] };
    json!({
        "model_format": "gguf",
        "model_family": family,
        "model_families": families,
        "model_type": describe::parameter_size(header.parameters),
        "file_type": describe::quantization(header).unwrap_or("unknown"),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| layer.digest.to_string()).collect::<Vec<_>>(),
        },
    })
    .to_string()
    .into_bytes()
}

fn refused(path: &Path, fault: Fault) -> Error {
    Error::new(Kind::Invalid, format!("The file cannot be imported: {fault}.")).because(at(path, &fault))
}

//! Import of a GGUF file into the model store.

use std::{fs, io, path::Path, sync::Arc};

use serde_json::json;

use super::{
    DEMO_MODEL, ModelStore,
    blobs::{self, Staged, lock_for_writing, writable_blobs, write_error},
    blobs_of, describe,
    digest::Digest,
    entry::Entry,
    gguf::{self, Fault, Header},
    is_demo,
    manifest::{self, Layer, Manifest},
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

/// Files and name to import.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    pub name: &'a ModelName,
    pub gguf: &'a Path,
    /// Projector of a vision model.
    pub projector: Option<&'a Path>,
    /// Whether to replace a model that has the same name.
    pub replace: bool,
}

impl ModelStore {
    /// Imports a GGUF file, with its projector if it has one. The files are linked if the file system
    /// supports it, and must not be changed afterwards. `progress` is called with the number of bytes read
    /// and the total.
    ///
    /// # Errors
    /// `Invalid` when the name is taken, or a file cannot be read or is not what it should be; `Setup` when
    /// the models folder cannot be written to or the disk is full.
    pub fn import(&self, import: Import<'_>, mut progress: impl FnMut(u64, u64)) -> Result<Arc<Entry>> {
        let Import { name, gguf, projector, .. } = import;
        self.check_free(import)?;
        let header = gguf::read(gguf).map_err(|fault| refused(gguf, &fault))?;
        describe::check_parts(std::slice::from_ref(&header))
            .and_then(|()| describe::architecture(&header))
            .map_err(|fault| refused(gguf, &fault))?;
        if let Some(projector) = projector {
            gguf::read(projector)
                .and_then(|header| describe::check_projector(&header))
                .map_err(|fault| refused(projector, &fault))?;
        }
        let folder = self.target_folder();
        let blobs = writable_blobs(folder)?;
        let files = [gguf].into_iter().chain(projector);
        let all: u64 = files.clone().map(|file| fs::metadata(file).map_or(0, |file| file.len())).sum();
        let mut done = 0;
        let mut seen = |bytes| {
            done += bytes;
            progress(done, all);
        };
        let types = [manifest::MODEL, manifest::PROJECTOR];
        let staged: Result<Vec<_>> = types
            .into_iter()
            .zip(files)
            .map(|(media_type, file)| Ok((media_type, Staged::file(&blobs, file, &mut seen)?)))
            .collect();
        let (staged, _writing) = (staged?, lock_for_writing(folder)?);
        // Another process may have taken the name meanwhile.
        self.check_free(import)?;
        self.publish(folder, name, &header, staged)?;
        self.find(name)?.ok_or_else(|| {
            Error::new(
                Kind::Setup,
                format!("The model {name} was removed during the import; import it again."),
            )
        })
    }

    fn check_free(&self, Import { name, replace, .. }: Import<'_>) -> Result<()> {
        if is_demo(name) {
            let message = format!("{DEMO_MODEL} is the built-in demo model; choose another name.");
            return Err(Error::new(Kind::Invalid, message));
        }
        if replace || self.folder_of(name).is_none() {
            return Ok(());
        }
        let message = format!("The model {name} already exists; use --force to replace it.");
        Err(Error::new(Kind::Invalid, message))
    }

    /// The models folder that has a model of this name, usable or not.
    pub(super) fn folder_of(&self, name: &ModelName) -> Option<&Path> {
        self.folders().find(|folder| manifest::path(folder, &manifest::installed(folder, name)).is_file())
    }

    /// Gives complete files their names and then, last, makes a manifest point to them. The folder is locked.
    pub(super) fn publish(
        &self,
        folder: &Path,
        name: &ModelName,
        header: &Header,
        files: Vec<(&'static str, Staged)>,
    ) -> Result<()> {
        let blobs = blobs_of(folder);
        let layer = |(media_type, file): &(&str, Staged)| Layer {
            media_type: (*media_type).to_owned(),
            digest: file.digest.clone(),
            size: file.size,
        };
        let layers: Vec<Layer> = files.iter().map(layer).collect();
        let config = config(header, &layers);
        let manifest = manifest(&config, layers);
        let config = Staged::copy(&blobs, &mut config.as_slice())?;
        for file in files.into_iter().map(|(_, file)| file).chain([config]) {
            file.publish(&blobs)?;
        }
        blobs::sync_folder(&blobs).map_err(|error| write_error(&blobs, error))?;
        let path = manifest::path(folder, &manifest::installed(folder, name));
        let replaced = manifest::read(&path).unwrap_or_default();
        blobs::write_whole(&path, &manifest).map_err(|error| write_error(folder, error))?;
        self.remove_unused(folder, &replaced);
        Ok(())
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

/// Config blob that Ollama reads before it opens a model's file.
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

/// Returns the refusal of a file. Its message may contain the path, because the operator has given it.
fn refused(path: &Path, fault: &Fault) -> Error {
    let path = path.display();
    let message = match fault {
        Fault::Io(source) if source.kind() == io::ErrorKind::NotFound => {
            format!("The file {path} does not exist.")
        }
        Fault::Io(source) => format!("The file {path} cannot be read: {source}."),
        fault => format!("The file {path} cannot be imported: {fault}."),
    };
    Error::new(Kind::Invalid, message)
}

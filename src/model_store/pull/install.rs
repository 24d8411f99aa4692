//! The last step of a pull: files that have all arrived become a model.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{blob::is_there, plan::RemoteFile};
use crate::{
    error::{Error, Kind, Result},
    model_store::{
        ModelStore,
        blobs::{Staged, lock_for_writing, write_error, write_whole},
        blobs_of, gguf, import,
        manifest::{self, Layer, Manifest},
        refused,
    },
    types::ModelName,
};

impl ModelStore {
    /// Hashes those files that were on the disk before, and removes damaged ones. Returns whether all are right.
    /// Returns soon after `stop`.
    pub(super) fn verify_blobs(
        &self,
        folder: &Path,
        files: &[RemoteFile],
        stop: &CancellationToken,
    ) -> Result<bool> {
        let mut are_right = true;
        for RemoteFile { layer, .. } in files {
            let path = blobs_of(folder).join(layer.digest.blob_name());
            if !path.exists() {
                are_right = false;
                continue;
            }
            let digest = self.digest_of(&path, stop);
            if digest.map_err(|error| write_error(folder, error))? != layer.digest.hex() {
                tracing::warn!(path = %path.display(), "A damaged model file is downloaded again");
                std::fs::remove_file(&path).map_err(|error| write_error(folder, error))?;
                are_right = false;
            }
        }
        Ok(are_right)
    }

    /// Writes the manifest of a model whose files are there. Returns false if one was removed meanwhile.
    pub(super) fn install(
        &self,
        folder: &Path,
        name: &ModelName,
        files: &[RemoteFile],
        manifest: Option<&[u8]>,
    ) -> Result<bool> {
        let layers: Vec<Layer> = files.iter().map(|file| file.layer.clone()).collect();
        let _writing = lock_for_writing(folder)?;
        // Removing another model may have removed files that both have.
        if !layers.iter().all(|layer| is_there(&blobs_of(folder), layer)) {
            return Ok(false);
        }
        let made = manifest.is_none().then(|| made(folder, name, layers.clone())).transpose()?;
        let bytes = manifest.or(made.as_deref()).unwrap_or_default();
        let parsed = Manifest::parse(bytes).map_err(|source| {
            Error::new(Kind::Internal, format!("The manifest of {name} is not valid.")).with_source(source)
        })?;
        if let Err(error) = self.check(folder, name, &parsed) {
            // Files that no model can use would only take room.
            self.remove_unused(folder, bytes);
            return Err(error);
        }
        let path = manifest::path(folder, &manifest::installed(folder, name));
        let replaced = manifest::read(&path).unwrap_or_default();
        write_whole(&path, bytes).map_err(|error| write_error(folder, error))?;
        self.remove_unused(folder, &replaced);
        Ok(true)
    }
}

/// Makes a manifest, with its config, for GGUF files.
fn made(folder: &Path, name: &ModelName, layers: Vec<Layer>) -> Result<Vec<u8>> {
    let blobs = blobs_of(folder);
    let weights = layers
        .first()
        .ok_or_else(|| Error::new(Kind::Internal, format!("The list of the files of {name} is empty.")))?;
    let path = blobs.join(weights.digest.blob_name());
    let header = gguf::read(&path).map_err(|fault| refused(name, &path, &fault))?;
    let config = import::config(&header, &layers);
    Staged::copy(&blobs, &mut config.as_slice())?.publish(&blobs)?;
    Ok(import::manifest(&config, layers))
}

//! Removal of a model, and of the files that no other model uses.

use std::{collections::HashSet, fs, io, path::Path};

use super::{
    DEMO_MODEL, ModelStore, absent,
    blobs::{lock_for_writing, write_error},
    blobs_of,
    digest::Digest,
    is_demo, lock, manifest,
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

impl ModelStore {
    /// Removes a model, even a damaged one, and those of its files that no other model uses. Returns its name as it was
    /// installed.
    ///
    /// # Errors
    /// `NotFound` when it is not installed, `Invalid` for the demo, `Setup` when the models folder cannot be written to.
    pub fn remove(&self, name: &ModelName) -> Result<ModelName> {
        if is_demo(name) {
            let message = format!(
                "{DEMO_MODEL} is built into the program and cannot be removed; any other installed model is preferred to it."
            );
            return Err(Error::new(Kind::Invalid, message));
        }
        let folder = self.folder_of(name).ok_or_else(|| absent(name))?;
        let _writing = lock_for_writing(folder)?;
        let installed = manifest::installed(folder, name);
        let path = manifest::path(folder, &installed);
        // A manifest that cannot be read can still be removed; its files then stay.
        let bytes = manifest::read(&path).unwrap_or_default();
        // First the manifest: a crash then leaves unused files, but no model without its files.
        fs::remove_file(&path).map_err(|error| match error.kind() {
            // Another process has removed it.
            io::ErrorKind::NotFound => absent(name),
            _ => write_error(folder, error),
        })?;
        lock(&self.0.loaded).remove(&path);
        // Up to the manifests folder itself; the first that is not empty ends it.
        for folder in path.ancestors().skip(1).take(3) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        self.remove_unused(folder, &bytes);
        Ok(installed)
    }

    /// Removes the blobs that `manifest`, which is gone, mentions and no other manifest does. A blob that cannot be removed stays, and is logged: it costs disk space, not a model.
    pub(super) fn remove_unused(&self, folder: &Path, manifest: &[u8]) {
        let mut unused: HashSet<Digest> = Digest::mentioned_in(manifest).collect();
        match all_mentioned(folder) {
            Ok(used) => unused.retain(|digest| !used.contains(digest)),
            Err(error) => {
                tracing::warn!(%error, "Unused model files are kept, because a manifest cannot be read: {error}");
                return;
            }
        }
        for digest in unused {
            let path = blobs_of(folder).join(digest.blob_name());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), "An unused model file cannot be removed: {error}");
                }
                _ => {}
            }
            lock(&self.0.hashed).remove(&path);
        }
        if let Err(error) = self.remove_dangling_links() {
            tracing::warn!(%error, "Links to removed model files cannot be removed: {error}");
        }
    }
}

/// The digests in all manifests. They are searched as texts, so that a manifest that is broken or of a newer
/// kind protects its files too.
fn all_mentioned(folder: &Path) -> io::Result<HashSet<Digest>> {
    let found = manifest::find_all(folder);
    if let Some((_, error)) = found.unreadable.into_iter().next() {
        return Err(error);
    }
    let mut digests = HashSet::new();
    for (_, path) in found.manifests {
        match manifest::read(&path) {
            Ok(bytes) => digests.extend(Digest::mentioned_in(&bytes)),
            // Removed meanwhile, or not a regular file, which mentions no digests.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(digests)
}

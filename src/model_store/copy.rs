//! Another name for a model, with the same files.

use std::path::Path;

use super::{
    DEMO_MODEL, ModelStore, absent,
    blobs::{lock_for_writing, write_error, write_whole},
    is_demo, manifest,
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

impl ModelStore {
    /// Gives a model another name, too. A model that has the name is replaced.
    ///
    /// # Errors
    /// `NotFound` when the model is not installed, `Invalid` for the demo's name, `Setup` when the models folder cannot
    /// be written to.
    pub fn copy(&self, model: &ModelName, name: &ModelName) -> Result<()> {
        if is_demo(name) {
            let message = format!("{DEMO_MODEL} is the built-in demo model; choose another name.");
            return Err(Error::new(Kind::Invalid, message));
        }
        // Its files are in its own folder.
        let folder = self.folder_of(model).ok_or_else(|| absent(model))?;
        let _writing = lock_for_writing(folder)?;
        let path = |name: &ModelName| manifest::path(folder, &manifest::installed(folder, name));
        let copied = manifest::read(&path(model)).map_err(|_| absent(model))?;
        let target = path(name);
        let replaced = manifest::read(&target).unwrap_or_default();
        publish(folder, &target, &copied)?;
        self.remove_unused(folder, &replaced);
        Ok(())
    }
}

fn publish(folder: &Path, path: &Path, manifest: &[u8]) -> Result<()> {
    write_whole(path, manifest).map_err(|error| write_error(folder, error))
}

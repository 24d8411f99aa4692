//! Files that callers upload to make models of. Each waits under a name of its own, and is removed after a day if no
//! model was made of it.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

use super::{
    ModelStore,
    blobs::{UPLOADED, unfinished_file, writable_blobs, write_error},
    blobs_of,
    digest::Digest,
};
use crate::error::{Error, Kind, Result};

/// A file that is being uploaded. Dropping it removes it.
pub struct Upload {
    blobs: PathBuf,
    announced: Digest,
    hash: Sha256,
    file: File,
    path: TempPath,
}

impl ModelStore {
    /// Whether a file with this digest is there.
    ///
    /// # Errors
    /// `Invalid` for what is no digest.
    pub fn has_blob(&self, digest: &str) -> Result<bool> {
        let digest = parse(digest)?;
        Ok(self.folders().any(|folder| located(folder, &digest).is_some()))
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `Invalid` for what is no digest, `Setup` when the models folder cannot be written to.
    pub fn begin_upload(&self, digest: &str) -> Result<Upload> {
        let announced = parse(digest)?;
        let blobs = writable_blobs(self.target_folder())?;
        let (file, path) = unfinished_file(&blobs).map_err(|error| write_error(&blobs, error))?;
        Ok(Upload { blobs, announced, hash: Sha256::new(), file, path })
    }
}

impl Upload {
    /// # Errors
    /// `Setup` when it cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| write_error(&self.blobs, error))
    }

    /// # Errors
    /// `Invalid` when its digest is another one, `Setup` when it cannot be written.
    pub fn finish(self) -> Result<()> {
        let Self { blobs, announced, hash, file, path } = self;
        let digest = Digest::from_hash(hash);
        if digest != announced {
            let message = format!("digest mismatch, expected \"{announced}\", got \"{digest}\"");
            return Err(Error::new(Kind::Invalid, message));
        }
        file.sync_all().map_err(|error| write_error(&blobs, error))?;
        path.persist(waiting(&blobs, &digest)).map_err(|error| write_error(&blobs, error.error))
    }
}

/// # Errors
/// `Invalid` for what is no digest.
pub(super) fn parse(digest: &str) -> Result<Digest> {
    // In a path the colon is often a dash.
    let digest = digest.replacen("sha256-", "sha256:", 1);
    Digest::try_from(digest)
        .map_err(|detail| Error::new(Kind::Invalid, format!("invalid digest format: {detail}")))
}

/// Path of an uploaded file of which no model was made yet.
pub(super) fn waiting(blobs: &Path, digest: &Digest) -> PathBuf {
    blobs.join(format!("{UPLOADED}{}", digest.hex()))
}

/// Path of a file in a models folder, whether or not a model was made of it.
pub(super) fn located(folder: &Path, digest: &Digest) -> Option<PathBuf> {
    let blobs = blobs_of(folder);
    let paths = [blobs.join(digest.blob_name()), waiting(&blobs, digest)];
    paths.into_iter().find(|path| path.is_file())
}

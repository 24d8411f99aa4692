//! Verification of a model's files against their digests. The engine does not detect damage: llama.cpp loads
//! a damaged projector and answers nonsense.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use tokio_util::sync::CancellationToken;

use super::{
    ModelStore, Stamp, at, damaged,
    digest::{CopyError, Digest},
    entry::Entry,
    gguf, lock, refused, unreadable,
};
use crate::{
    error::{Error, Kind, Result},
    types::ModelName,
};

/// The digest of a file as it was at one time.
#[derive(Debug)]
pub(super) struct Hashed {
    stamp: Stamp,
    digest: String,
}

impl ModelStore {
    /// Checks the structure and the sha256 of the model's files, and prepares those of a split model for the engine.
    /// Hashing takes about two seconds per GB; each file is hashed once per process, and again if its size or
    /// modification time has changed. Returns soon after `stop`.
    ///
    /// # Errors
    /// `Setup` when a file is missing or damaged. `Unavailable` when it was stopped.
    pub fn verify(&self, entry: &Entry, stop: &CancellationToken) -> Result<()> {
        for part in &entry.parts {
            self.verify_file(&entry.name, &part.path, &part.digest, stop)?;
        }
        self.link_parts(entry)?;
        if let (Some(path), Some(digest)) = (&entry.projector, &entry.projector_digest) {
            self.verify_file(&entry.name, path, digest, stop)?;
        }
        Ok(())
    }

    fn verify_file(
        &self,
        name: &ModelName,
        path: &Path,
        expected: &str,
        stop: &CancellationToken,
    ) -> Result<()> {
        let unreadable = |source: io::Error| {
            let error = match source.kind() {
                io::ErrorKind::NotFound => damaged(name, "a file is missing"),
                _ if stop.is_cancelled() => {
                    Error::new(Kind::Unavailable, "The model is not needed any more.")
                }
                _ => unreadable(name),
            };
            error.with_source(at(path, &source))
        };
        // First the header, which is cheap to check, and gives a better reason for refusing a truncated file.
        if self.remembered_digest(path).map_err(unreadable)?.is_none() {
            gguf::read(path).map_err(|fault| refused(name, path, &fault))?;
        }
        let digest = self.digest_of(path, stop).map_err(unreadable)?;
        if digest == expected {
            return Ok(());
        }
        let source = format!("{}: sha256 is {digest} instead of {expected}", path.display());
        Err(damaged(name, "its file does not match its checksum").with_source(source))
    }
}

impl ModelStore {
    /// The sha256 of a file in hexadecimal, which is computed once.
    pub(super) fn digest_of(&self, path: &Path, stop: &CancellationToken) -> io::Result<String> {
        if let Some(digest) = self.remembered_digest(path)? {
            return Ok(digest);
        }
        let stamp = Stamp::of(path)?;
        let digest = hash(path, stop)?;
        lock(&self.0.hashed).insert(path.to_owned(), Hashed { stamp, digest: digest.clone() });
        Ok(digest)
    }

    /// Returns the remembered digest, right or wrong: a damaged file is not hashed again for every request for its
    /// model.
    fn remembered_digest(&self, path: &Path) -> io::Result<Option<String>> {
        let stamp = Stamp::of(path)?;
        let hashed = lock(&self.0.hashed);
        Ok(hashed.get(path).filter(|hashed| hashed.stamp == stamp).map(|hashed| hashed.digest.clone()))
    }

    /// Remembers the digest of a file that was hashed while it was written.
    pub(super) fn note_digest(&self, path: &Path, digest: &Digest) {
        // A file that is gone again has no digest.
        if let Ok(stamp) = Stamp::of(path) {
            lock(&self.0.hashed).insert(path.to_owned(), Hashed { stamp, digest: digest.hex().to_owned() });
        }
    }
}

fn hash(path: &Path, stop: &CancellationToken) -> io::Result<String> {
    match Digest::of_copy(&mut UntilStop(File::open(path)?, stop), &mut io::sink()) {
        Ok((digest, _)) => Ok(digest.hex().to_owned()),
        Err(CopyError::Read(error) | CopyError::Write(error)) => Err(error),
    }
}

/// A file whose reads fail after `stop`.
struct UntilStop<'a>(File, &'a CancellationToken);

impl Read for UntilStop<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        self.0.read(buffer)
    }
}

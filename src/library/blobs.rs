//! Files on their way into the library. Nothing gets its final name before it is complete and on
//! the disk, so that neither a crash nor a full disk leaves a model that looks whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tempfile::{Builder, TempPath};

use super::{
    at,
    digest::{CopyError, Digest},
};
use crate::error::{Error, Kind, Result};

/// Both start with a dot, so that neither we nor Ollama take them for a model or a blob.
const UNFINISHED: &str = ".unfinished-";
const LINKED: &str = ".linked-";
/// No import takes that long between two writes.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A complete file in the blobs folder that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Staged {
    path: TempPath,
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
}

impl Staged {
    /// A file from elsewhere: linked where that is possible, since a second copy of a model takes
    /// gigabytes, else copied.
    pub(super) fn file(blobs: &Path, source: &Path) -> Result<Self> {
        let unreadable = |error: io::Error| {
            Error::new(Kind::Invalid, "The GGUF file cannot be read.").because(at(source, &error))
        };
        // A link to a symbolic link would be a second symbolic link.
        let source = fs::canonicalize(source).map_err(unreadable)?;
        let mut input = File::open(&source).map_err(unreadable)?;
        let linked = Builder::new().prefix(LINKED).make_in(blobs, |path| fs::hard_link(&source, path));
        let Ok(linked) = linked else { return Self::copy(blobs, &mut input) };
        let path = linked.into_temp_path();
        let (digest, size) = Digest::of_copy(&mut input, &mut io::sink()).map_err(copy_error)?;
        input.sync_all().map_err(write_error)?;
        Ok(Self { path, digest, size })
    }

    /// Everything that `input` gives, written to a file of its own.
    pub(super) fn copy(blobs: &Path, mut input: &mut dyn io::Read) -> Result<Self> {
        let (mut file, path) = unfinished_file(blobs).map_err(write_error)?;
        let (digest, size) = Digest::of_copy(&mut input, &mut file).map_err(copy_error)?;
        file.sync_all().map_err(write_error)?;
        Ok(Self { path, digest, size })
    }

    /// Gives the file its name. One that is there already is replaced: it may be damaged.
    pub(super) fn publish(self, blobs: &Path) -> Result<()> {
        let path = self.path.to_path_buf();
        self.path.persist(blobs.join(self.digest.blob_name())).map_err(|error| write_error(error.error))?;
        // Renaming one link of a file over another link of the same file does nothing (POSIX), as
        // when the same file is imported twice.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(error)),
            _ => Ok(()),
        }
    }
}

/// Writes a file in one step: a reader sees the old bytes or the new ones.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let (mut file, unfinished) = unfinished_file(folder)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    unfinished.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes the names in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems do not open folders, and order their names themselves.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network disks cannot do it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Removes copies that a killed process left unfinished; each may hold gigabytes.
pub(super) fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Not the linked ones: they have the age of their source, and take no room beside it.
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > ABANDONED_AFTER) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Unlike tempfile's own files, which only their owner may read, this has the usual permissions:
/// Ollama, often another user, has to read it too.
fn unfinished_file(folder: &Path) -> io::Result<(File, TempPath)> {
    let create = |path: &Path| File::options().write(true).create_new(true).open(path);
    Ok(Builder::new().prefix(UNFINISHED).make_in(folder, create)?.into_parts())
}

fn copy_error(error: CopyError) -> Error {
    match error {
        CopyError::Read(source) => Error::new(Kind::Invalid, "The GGUF file cannot be read.").because(source),
        CopyError::Write(source) => write_error(source),
    }
}

/// Why the models folder could not be written to.
pub(super) fn write_error(source: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let message = match source.kind() {
        StorageFull | QuotaExceeded => "The disk with the models folder is full; make room and try again.",
        PermissionDenied | ReadOnlyFilesystem => {
            "The models folder cannot be written to; check its permissions or set MODELS_DIR."
        }
        _ => "The models folder cannot be written to.",
    };
    Error::new(Kind::Setup, message).because(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error =
            Digest::of_copy(&mut b"abc".as_slice(), &mut Full).map_err(copy_error).expect_err("it is full");
        assert_eq!(error.kind(), Kind::Setup);
        assert_eq!(error.message(), "The disk with the models folder is full; make room and try again.");
    }
}

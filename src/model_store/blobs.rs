//! Files that are being added to the model store. A file gets its final name only when it is complete and
//! synced to disk, so that neither a crash nor a full disk leaves a partial model.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::{Builder, TempPath};

use super::{
    at, blobs_of,
    digest::{CopyError, Digest},
};
use crate::{
    error::{Error, Kind, Result},
    files,
};

/// Prefixes of unfinished files. Because of the dot, neither Simpleton nor Ollama takes them for models or blobs.
const UNFINISHED: &str = ".unfinished-";
const LINKED: &str = ".linked-";
/// Downloads, which can be continued; the rest of the name is the digest.
pub(super) const PARTIAL: &str = ".partial-";
/// Files that callers have uploaded; the rest of the name is the digest.
pub(super) const UPLOADED: &str = ".uploaded-";
/// No import takes that long between two writes, and no model is made of a file that long after it was uploaded.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Downloads are continued after days.
const PARTIAL_ABANDONED_AFTER: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A complete file in the blobs folder without its final name. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Staged {
    path: TempPath,
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
}

impl Staged {
    /// Adds a file from elsewhere: links it if possible, since a copy of a model takes gigabytes, or else
    /// copies it. `seen` is called with the bytes as they are read.
    pub(super) fn file(blobs: &Path, source: &Path, seen: &mut dyn FnMut(u64)) -> Result<Self> {
        let unreadable = |error: io::Error| {
            Error::new(Kind::Invalid, "The GGUF file cannot be read.").with_source(at(source, &error))
        };
        // A link to a symbolic link would be a second symbolic link.
        let source = fs::canonicalize(source).map_err(unreadable)?;
        let mut input = Watched { input: File::open(&source).map_err(unreadable)?, seen };
        let linked = Builder::new().prefix(LINKED).make_in(blobs, |path| fs::hard_link(&source, path));
        let Ok(linked) = linked else { return Self::copy(blobs, &mut input) };
        let path = linked.into_temp_path();
        let (digest, size) =
            Digest::of_copy(&mut input, &mut io::sink()).map_err(|error| copy_error(blobs, error))?;
        input.input.sync_all().map_err(|error| write_error(blobs, error))?;
        Ok(Self { path, digest, size })
    }

    /// Writes everything that `input` contains to a new file.
    pub(super) fn copy(blobs: &Path, mut input: &mut dyn io::Read) -> Result<Self> {
        let (mut file, path) = unfinished_file(blobs).map_err(|error| write_error(blobs, error))?;
        let (digest, size) =
            Digest::of_copy(&mut input, &mut file).map_err(|error| copy_error(blobs, error))?;
        file.sync_all().map_err(|error| write_error(blobs, error))?;
        Ok(Self { path, digest, size })
    }

    /// Gives the file its name. One that is there already is replaced: it may be damaged.
    pub(super) fn publish(self, blobs: &Path) -> Result<()> {
        let path = self.path.to_path_buf();
        let named = self.path.persist(blobs.join(self.digest.blob_name()));
        named.map_err(|error| write_error(blobs, error.error))?;
        // Renaming one link of a file over another link of the same file does nothing (POSIX), as
        // when the same file is imported twice.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(blobs, error)),
            _ => Ok(()),
        }
    }
}

/// A file that reports the bytes that are read from it.
struct Watched<'a> {
    input: File,
    seen: &'a mut dyn FnMut(u64),
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        (self.seen)(len as u64);
        Ok(len)
    }
}

/// The folder for blobs, ready to be filled.
pub(super) fn writable_blobs(folder: &Path) -> Result<PathBuf> {
    let blobs = blobs_of(folder);
    files::shared_folder(&blobs)
        .and_then(|()| remove_abandoned(&blobs))
        .map_err(|error| write_error(folder, error))?;
    Ok(blobs)
}

/// One process at a time adds to a models folder or removes from it: a blob that is new would look unused to
/// another one. It is the folder itself that is locked, so that nothing has to be written into it. Held until
/// the file is dropped.
pub(super) fn lock_for_writing(folder: &Path) -> Result<File> {
    let locked = File::open(folder).and_then(|file| match file.lock() {
        // Some network disks have no locks, or none for folders; there, importing one model at a time is left to
        // the user.
        Err(error) if is_without_locks(&error) => Ok(file),
        locked => locked.map(|()| file),
    });
    locked.map_err(|error| write_error(folder, error))
}

pub(super) fn is_without_locks(error: &io::Error) -> bool {
    let is_no_lockable = error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error());
    error.kind() == io::ErrorKind::Unsupported || is_no_lockable
}

/// Writes a file in one step: a reader sees the old bytes or the new ones.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    files::shared_folder(folder)?;
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
        // Some network disks do not support it.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Removes copies that a killed process left unfinished, and abandoned downloads; each may have gigabytes.
fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Not the linked ones: they have the age of their source, and take no space of their own.
        let limit = match () {
            () if name.starts_with(UNFINISHED) || name.starts_with(UPLOADED) => ABANDONED_AFTER,
            () if name.starts_with(PARTIAL) => PARTIAL_ABANDONED_AFTER,
            () => continue,
        };
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > limit) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Unlike tempfile's own files, which only their owner may read, this is open to readers: Ollama, often
/// another user, has to read it too.
pub(super) fn unfinished_file(folder: &Path) -> io::Result<(File, TempPath)> {
    let create = |path: &Path| File::options().write(true).create_new(true).mode(0o644).open(path);
    Ok(Builder::new().prefix(UNFINISHED).make_in(folder, create)?.into_parts())
}

fn copy_error(folder: &Path, error: CopyError) -> Error {
    match error {
        CopyError::Read(source) => {
            Error::new(Kind::Invalid, "The GGUF file cannot be read.").with_source(source)
        }
        CopyError::Write(source) => write_error(folder, source),
    }
}

/// Why a models folder could not be written to.
pub(super) fn write_error(folder: &Path, source: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let message = match source.kind() {
        _ if files::is_full(&source) => {
            "The disk of the models directory is full; free some space and try again."
        }
        PermissionDenied | ReadOnlyFilesystem => {
            "The models directory cannot be written to; check its permissions, or set MODELS_DIR."
        }
        _ => "The models directory cannot be written to.",
    };
    Error::new(Kind::Setup, message).with_source(at(folder, &source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, days) in [
            (".unfinished-a", 2),
            (".unfinished-b", 0),
            (".partial-a", 15),
            (".partial-b", 13),
            ("sha256-a", 99),
        ] {
            let file = File::create(folder.path().join(name)).expect("a file");
            file.set_modified(std::time::SystemTime::now() - day * days).expect("its time");
        }
        remove_abandoned(folder.path()).expect("removed");
        let left = |name: &str| folder.path().join(name).exists();
        assert!(left(".unfinished-b") && left(".partial-b") && left("sha256-a"));
        assert!(!left(".unfinished-a") && !left(".partial-a"));
    }

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
        let error = Digest::of_copy(&mut b"abc".as_slice(), &mut Full)
            .map_err(|error| copy_error(Path::new("/models"), error))
            .expect_err("it is full");
        assert_eq!(error.kind(), Kind::Setup);
        assert_eq!(
            error.message(),
            "The disk of the models directory is full; free some space and try again."
        );
    }
}

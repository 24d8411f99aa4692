//! Files and folders as this program makes and reads them: private whatever the umask, and never a pipe
//! that waits for its writer or a link that leads elsewhere. It knows nothing of what is in them.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{Access, OFlags, access},
    io::Errno,
};

/// Makes a folder for its owner only, and those above it that are missing. One that is there stays as it is.
pub fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder that others may read, and those above it that are missing.
pub fn shared_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Makes sure that there is a file, a new one for its owner only. It opens none that is there: to close it
/// would take SQLite's locks away, which are the process's.
pub fn ensure_private(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(no_file()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match File::options().write(true).create_new(true).mode(0o600).open(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}

/// Checks that a file can be written, or created with the folders above it; it changes nothing.
///
/// # Errors
/// `InvalidInput` for what is no file, and what keeps the file from being written.
pub fn check_writable(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => return Err(no_file()),
        Ok(_) => access(&path, Access::WRITE_OK)?,
        Err(_) => {}
    }
    // SQLite makes its logs beside the file.
    let mut folders = path.ancestors().skip(1);
    let folder = folders.find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Opens a file of ours to read and write it, a new one for its owner only.
///
/// # Errors
/// `InvalidInput` for a link and for what is no file.
pub fn open_private(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|error| {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if is_link { no_file() } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// `InvalidInput` for what is no file, such as a pipe, and `FileTooLarge`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Else to open a pipe would be to wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Writes a file for the owner's eyes only, whatever was there: whole or not at all, whatever happens
/// meanwhile.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Of mode 0600, as all temporary files.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Takes from others what they may do with a file or folder. A link is left alone, and so is what is not
/// there.
///
/// # Errors
/// Whatever keeps the mode from being changed, as when it belongs to another user.
pub fn close_to_others(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if found.is_symlink() || found.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o700))
}

/// Bytes for people, such as `4.7 GB`.
pub fn readable_size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Whether there is no room for what was to be written.
pub fn is_full(error: &io::Error) -> bool {
    // The last is the limit of `ulimit -f`, which is as a full disk.
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn no_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is a link, a directory or a device, not a regular file")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_made_is_private_and_what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).expect("a file").mode() & 0o777;
        private_folder(&at("a/b")).expect("folders");
        drop(open_private(&at("a/lock")).expect("a file"));
        ensure_private(&at("a/data")).expect("a file");
        ensure_private(&at("a/data")).expect("it is there");
        assert_eq!(["a", "a/b", "a/lock", "a/data"].map(mode), [0o700, 0o700, 0o600, 0o600]);

        fs::write(at("target"), "precious").expect("a file");
        std::os::unix::fs::symlink(at("target"), at("link")).expect("a link");
        assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo").success());
        for name in ["link", "pipe", "a"] {
            assert!(open_private(&at(name)).is_err() && ensure_private(&at(name)).is_err(), "{name}");
        }
        for name in ["pipe", "a"] {
            assert_eq!(read(&at(name), 10).expect_err(name).kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(read(&at("link"), 8).expect("the file behind it"), b"precious");
        assert_eq!(read(&at("target"), 7).expect_err("too large").kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn only_what_is_open_to_others_is_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("a file");
        for (before, after) in [(0o644, 0o600), (0o666, 0o600), (0o755, 0o700), (0o400, 0o400)] {
            fs::set_permissions(&path, Permissions::from_mode(before)).expect("its mode");
            close_to_others(&path).expect("closed");
            assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, after);
        }
        close_to_others(&folder.path().join("missing")).expect("nothing to do");
    }
}

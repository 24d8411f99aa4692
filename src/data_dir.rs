//! The folder that holds everything this server keeps. One server at a time: whoever holds the lock
//! file owns the folder, its databases and its engine children.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Kind, Result};

/// The folder, locked for as long as this value lives. The lock also goes when the process dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// The platform's folder for data: `$XDG_DATA_HOME/simpleton`, else `~/.local/share/simpleton`
    /// (macOS: `~/Library/Application Support/simpleton`), else `./data`.
    pub fn default_path() -> PathBuf {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let platform = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
        from("XDG_DATA_HOME")
            .or_else(|| from("HOME").map(|home| home.join(platform)))
            .map_or_else(|| PathBuf::from("data"), |base| base.join("simpleton"))
    }

    /// Creates the folder when it is missing (mode 0700) and locks it.
    ///
    /// # Errors
    /// `Kind::Setup` when it cannot be written to or another server holds it.
    pub fn open(path: &Path) -> Result<Self> {
        let setup = |what: &str, source: std::io::Error| {
            let hint = "set DATA_DIR to a folder this user may write to";
            Error::new(Kind::Setup, format!("The data folder {} {what}; {hint}.", path.display()))
                .because(source)
        };
        create_private(path).map_err(|source| setup("cannot be created", source))?;
        let mut lock = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(|source| setup("cannot be written to", source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let who = pid.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (process {pid})"));
                return Err(Error::new(
                    Kind::Setup,
                    format!(
                        "Another Simpleton{who} is running on the data folder {}; stop it, or set DATA_DIR to another folder.",
                        path.display()
                    ),
                ));
            }
            Err(TryLockError::Error(source)) => return Err(setup("cannot be locked", source)),
        }
        // Only for the message above: a lock file without a number is as good.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a file for the owner's eyes only, whatever was there: whole or not at all, whatever happens
/// meanwhile.
pub fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Of mode 0600, as all temporary files.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

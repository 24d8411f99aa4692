//! Folder with everything that this server stores. One server at a time: the process that holds the lock file
//! owns the folder, its databases and its engine children.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::{Error, Kind, Result},
    files,
};

/// Private files of the data folder, and folders that hold nothing else.
const FILES: [&str; 4] = ["lock", "api-key", "alerts.json", "prompts.history"];
const FOLDERS: [&str; 2] = ["cache", "state"];

/// The folder, locked for as long as this value lives. The lock also goes when the process dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
    /// Paths that other users may read and that we may not change.
    exposed: Vec<PathBuf>,
}

impl DataDir {
    /// Default path in documentation, which is the same for every user.
    pub const PORTABLE_DEFAULT: &str = "~/.local/share/simpleton";

    /// The platform's folder for data: `$XDG_DATA_HOME/simpleton`, else `~/.local/share/simpleton`
    /// (macOS: `~/Library/Application Support/simpleton`), else `./data`.
    pub fn default_path() -> PathBuf {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let platform = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
        from("XDG_DATA_HOME")
            .or_else(|| from("HOME").map(|home| home.join(platform)))
            .map_or_else(|| PathBuf::from("data"), |base| base.join("simpleton"))
    }

    /// Creates the folder when it is missing (mode 0700), locks it, and takes from others what they may do
    /// with our files in it.
    ///
    /// # Errors
    /// `Kind::Setup` when it cannot be written to or another server holds it.
    pub fn open(path: &Path) -> Result<Self> {
        let setup = |what: &str, source: std::io::Error| {
            let hint = advice(&source);
            Error::new(Kind::Setup, format!("The data directory {} {what}; {hint}.", path.display()))
                .with_source(source)
        };
        files::private_folder(path).map_err(|source| setup("cannot be created", source))?;
        let mut lock = files::open_private(&path.join("lock")).map_err(|source| match source.kind() {
            ErrorKind::InvalidInput => Error::new(
                Kind::Setup,
                format!("{} was not created by Simpleton; remove it.", path.join("lock").display()),
            )
            .with_source(source),
            _ => setup("cannot be written to", source),
        })?;
        match exclusive(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path, &mut lock)),
            Err(TryLockError::Error(source)) => return Err(setup("cannot be locked", source)),
        }
        // Only for the message of `taken`: a lock file without a number is as good.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), lock, exposed: close_to_others(path) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the server's address into the lock file, where `server` finds it.
    pub fn publish(&self, address: SocketAddr) {
        // On a full disk, only the command line does without the server.
        let _ = write!(&self.lock, "\n{address}\n");
    }

    /// Returns the address of the server that is using a data directory; `None` when there is none.
    ///
    /// # Errors
    /// `Kind::Setup` when the directory is in use, and the address is not known.
    pub fn server(path: &Path) -> Result<Option<SocketAddr>> {
        let Ok(mut lock) = File::open(path.join("lock")) else { return Ok(None) };
        if lock.try_lock_shared().is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        // What cannot be read has no address.
        let _ = (&lock).take(1024).read_to_string(&mut text);
        match text.lines().nth(1).and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Some(address)),
            None => Err(taken(path, &mut lock)),
        }
    }

    /// Describes the access of other users to the folder and how to end it; none when they have none.
    pub fn exposure(&self) -> Option<String> {
        let (mut found, path) = (Vec::new(), self.path.display());
        let folder = fs::metadata(&self.path).ok()?;
        if folder.mode() & 0o077 != 0 {
            let mode = folder.mode() & 0o7777;
            found.push(format!("its mode is {mode:o}, which you can fix with chmod 700 '{path}'"));
        }
        if folder.uid() != rustix::process::geteuid().as_raw() {
            found.push(format!("it is owned by another user ({})", folder.uid()));
        }
        if !self.exposed.is_empty() {
            let paths: Vec<String> = self.exposed.iter().map(|path| path.display().to_string()).collect();
            found.push(format!("the permissions of these files cannot be changed: {}", paths.join(", ")));
        }
        let found = found.join("; ");
        (!found.is_empty()).then(|| format!("Other users can access the data directory {path}: {found}."))
    }
}

/// Locks the file. A command that looks whether it is locked holds it for a moment.
#[expect(clippy::disallowed_methods, reason = "nothing else happens before the start")]
fn exclusive(lock: &File) -> std::result::Result<(), TryLockError> {
    for _ in 0..20 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    lock.try_lock()
}

/// Advice for a data folder that cannot be written to.
pub fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        _ if files::is_full(source) => "its disk is full, so free some space",
        ErrorKind::ReadOnlyFilesystem => {
            "its disk is read-only, so set DATA_DIR to a directory on another disk"
        }
        _ => "set DATA_DIR to a directory that this user can write to",
    }
}

fn taken(path: &Path, lock: &mut File) -> Error {
    let mut pid = String::new();
    // Only for the message.
    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut pid));
    let pid = pid.lines().next().unwrap_or_default();
    let who = pid.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (process {pid})"));
    Error::new(
        Kind::Setup,
        format!(
            "Another Simpleton server{who} is using the data directory {}; stop it, or set DATA_DIR to another directory.",
            path.display()
        ),
    )
}

/// An earlier version, or a restored backup, may have left our files open to others. Returns those that
/// stay so.
fn close_to_others(path: &Path) -> Vec<PathBuf> {
    let mut ours: Vec<PathBuf> = FILES.iter().chain(&FOLDERS).map(|name| path.join(name)).collect();
    for folder in FOLDERS {
        // A folder that is not there has no files.
        let Ok(entries) = fs::read_dir(path.join(folder)) else { continue };
        ours.extend(entries.flatten().map(|entry| entry.path()));
    }
    ours.retain(|path| files::close_to_others(path).is_err());
    ours
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    #[test]
    fn what_an_earlier_version_left_open_is_closed_and_an_open_folder_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in FOLDERS {
            fs::create_dir(at(name)).expect("a folder");
            set_mode(&at(name), 0o777);
        }
        let files =
            ["api-key", "alerts.json", "cache/responses.db", "cache/responses.db-wal", "state/history.db"];
        for name in files {
            fs::write(at(name), "secret").expect("a file");
            set_mode(&at(name), 0o644);
        }
        fs::write(at("notes.txt"), "the user's own").expect("a file");
        set_mode(&at("notes.txt"), 0o644);
        set_mode(folder.path(), 0o755);

        let data = DataDir::open(folder.path()).expect("the folder");
        let mode = |name: &str| fs::metadata(at(name)).expect("a file").mode() & 0o777;
        for name in files.into_iter().chain(["lock"]) {
            assert_eq!(mode(name), 0o600, "{name}");
        }
        assert_eq!((mode("cache"), mode("state"), mode("notes.txt")), (0o700, 0o700, 0o644));
        let told = data.exposure().expect("it is open");
        assert!(told.contains("mode is 755") && told.contains("chmod 700"), "{told}");
        set_mode(folder.path(), 0o700);
        assert_eq!(data.exposure(), None);
    }

    #[test]
    fn the_server_of_a_folder_is_found_while_it_lives() {
        let folder = tempfile::tempdir().expect("a folder");
        let find = || DataDir::server(folder.path());
        assert_eq!(find().expect("no server"), None);
        let data_dir = DataDir::open(folder.path()).expect("the folder");
        let error = find().expect_err("no address yet");
        assert!(error.message().contains(&format!("(process {})", std::process::id())), "{error}");
        let address = "127.0.0.1:8000".parse().expect("an address");
        data_dir.publish(address);
        assert_eq!(find().expect("a server"), Some(address));
        let error = DataDir::open(folder.path()).expect_err("it is in use");
        assert!(error.message().contains(&format!("(process {})", std::process::id())), "{error}");
        drop(data_dir);
        assert_eq!(find().expect("none"), None);
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, victim) = (folder.path().join("data"), folder.path().join("victim"));
        fs::create_dir(&data).expect("a folder");
        fs::write(&victim, "precious").expect("a file");
        for target in [&victim, &folder.path().join("missing")] {
            let _ = fs::remove_file(data.join("lock"));
            symlink(target, data.join("lock")).expect("a link");
            let error = DataDir::open(&data).expect_err("a link");
            assert!(
                error.message().ends_with("data/lock was not created by Simpleton; remove it."),
                "{error}"
            );
        }
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "precious");
        assert!(!folder.path().join("missing").exists());
    }

    #[test]
    fn each_reason_has_its_own_advice() {
        for (kind, part) in [
            (ErrorKind::StorageFull, "free some space"),
            (ErrorKind::QuotaExceeded, "free some space"),
            (ErrorKind::FileTooLarge, "free some space"),
            (ErrorKind::ReadOnlyFilesystem, "read-only"),
            (ErrorKind::PermissionDenied, "can write to"),
        ] {
            assert!(advice(&kind.into()).contains(part), "{kind}");
        }
    }
}

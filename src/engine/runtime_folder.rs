//! Private folder for the children's sockets. It has a short path outside of the data folder, whose path may
//! be long, because a unix socket's path is limited to 107 bytes.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};

/// `sun_path` of Linux holds 108 bytes with its final zero, that of macOS 104.
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// `/4294967295.sock`
const LONGEST_NAME: usize = 16;

pub(super) struct RuntimeFolder {
    path: PathBuf,
    next: AtomicU64,
}

impl RuntimeFolder {
    /// Opens the folder that belongs to a data folder, and empties it: the data folder is locked by one
    /// server at a time, so its content is left over from an earlier one.
    ///
    /// # Errors
    /// `Setup` when the folder cannot be created or belongs to another user.
    pub(super) fn open(data_dir: &Path) -> Result<Self> {
        let identity = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
        let hash = Sha256::digest(identity.as_os_str().as_encoded_bytes());
        let name = format!("simpleton-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
        let candidates =
            [env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(env::temp_dir()), Some("/tmp".into())];
        let mut failure = None;
        for parent in candidates.into_iter().flatten().filter(|parent| parent.is_absolute()) {
            let path = parent.join(&name);
            if path.as_os_str().len() + LONGEST_NAME > MAX_SOCKET_PATH {
                continue;
            }
            match claim(&path) {
                Ok(()) => return Ok(Self { path, next: AtomicU64::new(1) }),
                Err(source) => failure = Some(source),
            }
        }
        let error = Error::new(
            Kind::Setup,
            "No private directory can be created for the engine's sockets; set XDG_RUNTIME_DIR to a directory of yours with a short path.",
        );
        Err(match failure {
            Some(source) => error.with_source(source),
            None => error,
        })
    }

    /// Path for a new socket; llama-server recognizes one by its ending `.sock`.
    ///
    /// # Errors
    /// When the folder is gone, as unused files in a temporary folder are removed after days, and cannot be
    /// created again.
    pub(super) fn socket(&self) -> io::Result<PathBuf> {
        if fs::symlink_metadata(&self.path).is_err() {
            claim(&self.path)?;
        }
        Ok(self.path.join(format!("{}.sock", self.next.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Drop for RuntimeFolder {
    fn drop(&mut self) {
        // Only when it is empty; what stays behind is removed by the next start.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Creates the folder, or takes over an earlier one of ours, and empties it.
fn claim(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // Not followed: in a shared temporary folder another user may have created a link with this name.
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the directory is owned by another user",
        ));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_folder_is_taken_over_emptied_and_closed_to_others() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("simpleton-0");
        fs::create_dir(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        fs::write(path.join("1.sock"), "").expect("a stale socket");
        claim(&path).expect("ours");
        assert_eq!(fs::read_dir(&path).expect("a folder").count(), 0);
        assert_eq!(fs::metadata(&path).expect("a folder").mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_is_not_followed() {
        let parent = tempfile::tempdir().expect("a folder");
        let victim = parent.path().join("victim");
        fs::create_dir(&victim).expect("a folder");
        fs::write(victim.join("file"), "").expect("a file");
        let path = parent.path().join("simpleton-0");
        std::os::unix::fs::symlink(&victim, &path).expect("a link");
        assert!(claim(&path).is_err());
        assert!(victim.join("file").exists());
    }
}

//! Who may use the API: the keys of `API_KEYS`, or one that the server makes for itself.

use std::{io::ErrorKind, path::Path};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    data_dir::replace,
    error::{Error, Kind, Result},
    types::{KeyId, Secret},
};

/// All keys that open the API, kept as hashes so that comparing them takes the same time whatever is
/// presented.
pub struct Keys(Vec<[u8; 32]>);

/// A key that has just been made and is shown once.
pub struct NewKey(pub Secret);

impl Keys {
    /// The configured keys; when there are none, the one in the data folder, made when it is missing.
    ///
    /// # Errors
    /// `Kind::Setup` when the key's file cannot be read or written.
    pub fn open(configured: &[Secret], data_dir: &Path) -> Result<(Self, Option<NewKey>)> {
        if !configured.is_empty() {
            return Ok((Self::new(configured), None));
        }
        let path = data_dir.join("api-key");
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok((Self::new(&[Secret::new(text.trim())]), None)),
            Err(source) if source.kind() != ErrorKind::NotFound => Err(unusable(&path, source)),
            Ok(_) | Err(_) => {
                let key = make(&path)?;
                Ok((Self::new(std::slice::from_ref(&key)), Some(NewKey(key))))
            }
        }
    }

    pub fn new(keys: &[Secret]) -> Self {
        Self(keys.iter().map(|key| hash(key.expose().as_bytes())).collect())
    }

    /// Whose key this is. Looks at every key, so that the time taken tells nothing.
    pub fn find(&self, presented: &[u8]) -> Option<KeyId> {
        let presented = hash(presented);
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.ct_eq(&presented)) {
                found = Some(KeyId::new([key[0], key[1], key[2], key[3]]));
            }
        }
        found
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// 256 bits from the operating system, written for the owner's eyes only.
fn make(path: &Path) -> Result<Secret> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|source| Error::new(Kind::Setup, "The system gives no random numbers.").because(source))?;
    let key = bytes.iter().fold(String::from("sk-"), |mut key, byte| {
        key.push_str(&format!("{byte:02x}"));
        key
    });
    replace(path, format!("{key}\n").as_bytes()).map_err(|source| unusable(path, source))?;
    Ok(Secret::new(key))
}

fn unusable(path: &Path, source: std::io::Error) -> Error {
    Error::new(
        Kind::Setup,
        format!("The API key in {} cannot be used; make the file readable, or set API_KEYS.", path.display()),
    )
    .because(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_open() {
        let keys = Keys::new(&[Secret::new("first-key"), Secret::new("second-key")]);
        assert!(keys.find(b"first-key").is_some());
        assert_ne!(keys.find(b"first-key"), keys.find(b"second-key"));
        for wrong in ["", "first", "first-key ", "FIRST-KEY", "first-key,second-key"] {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_made_once_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        // Whatever is there without a key, and whoever may read it.
        let path = folder.path().join("api-key");
        std::fs::write(&path, "\n").expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("its mode");
        let (_, made) = Keys::open(&[], folder.path()).expect("a key");
        let made = made.expect("a new key").0;
        let (keys, again) = Keys::open(&[], folder.path()).expect("the same key");
        assert!(again.is_none());
        assert!(keys.find(made.expose().as_bytes()).is_some());
        let mode = path.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{made:?}"), "[redacted]");
    }
}

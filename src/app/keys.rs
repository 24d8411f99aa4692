//! API keys: those of `API_KEYS`, or one that the server generates for itself; and the keys of sessions in the
//! dashboard, which open the API like them for a while.

mod sessions;

use std::{io::ErrorKind, path::Path, time::Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use self::sessions::Session;
use self::sessions::Sessions;
use crate::{
    data_dir::advice,
    error::{Error, Kind, Result},
    files,
    types::{Principal, Secret},
};

/// Characters of a key: what is shorter can be guessed, and a head has no room for what is longer.
const MIN_LENGTH: usize = 8;
const MAX_LENGTH: usize = 256;

/// Far more than a key takes.
const MAX_FILE_BYTES: u64 = 4096;

/// A key as the operator writes it, for settings.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn api_key(text: &str) -> Result<Secret, String> {
    let key = text.trim();
    if (MIN_LENGTH..=MAX_LENGTH).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(key));
    }
    Err(format!("must be keys of {MIN_LENGTH} to {MAX_LENGTH} visible ASCII characters, separated by commas"))
}

/// All keys that open the API, kept as hashes so that comparing them takes the same time whatever is
/// presented.
pub struct Keys {
    keys: Vec<[u8; 32]>,
    sessions: Sessions,
}

/// A key that has just been made and is shown once.
pub struct NewKey(pub Secret);

impl Keys {
    /// The configured keys; when there are none, the one in the data folder, made when it is missing.
    ///
    /// # Errors
    /// `Kind::Setup` when the key's file cannot be read or written, or holds what is no key.
    pub fn open(configured: &[Secret], data_dir: &Path) -> Result<(Self, Option<NewKey>)> {
        if !configured.is_empty() {
            return Ok((Self::new(configured), None));
        }
        if let Some(key) = stored(data_dir)? {
            return Ok((Self::new(&[key]), None));
        }
        let key = make(&data_dir.join("api-key"))?;
        Ok((Self::new(std::slice::from_ref(&key)), Some(NewKey(key))))
    }

    pub fn new(keys: &[Secret]) -> Self {
        let keys = keys.iter().map(|key| hash(key.expose().as_bytes())).collect();
        Self { keys, sessions: Sessions::default() }
    }

    /// Whose key this is. Looks at every key, so that the time taken tells nothing. Sessions act for the first API
    /// key, whose stored responses and statistics they share.
    pub fn find(&self, presented: &[u8]) -> Option<Principal> {
        let presented = hash(presented);
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.ct_eq(&presented)) {
                found = Some(Principal::new(*key));
            }
        }
        let of_session = || {
            let is_open = self.sessions.contains(&presented, Instant::now());
            self.keys.first().filter(|_| is_open).map(|key| Principal::new(*key))
        };
        found.or_else(of_session)
    }

    /// Makes a token that signs in once, within 15 minutes.
    ///
    /// # Errors
    /// `Kind::Setup` when the system has no random numbers.
    pub fn sign_in_token(&self) -> Result<Secret> {
        self.sessions.new_token(Instant::now())
    }

    /// Opens a session for a sign-in token; none if the token is wrong, used or expired.
    ///
    /// # Errors
    /// `Kind::Setup` when the system has no random numbers.
    pub fn sign_in(&self, token: &[u8]) -> Result<Option<Session>> {
        self.sessions.exchange(token, Instant::now())
    }

    /// Ends the session that has this key, and returns whether there was one.
    pub fn sign_out(&self, key: &[u8]) -> bool {
        self.sessions.end(key, Instant::now())
    }
}

/// Reads the key in the data folder; `None` when there is none.
///
/// # Errors
/// `Kind::Setup` when the file cannot be read, or holds what is no key.
pub fn stored(data_dir: &Path) -> Result<Option<Secret>> {
    let path = data_dir.join("api-key");
    let text = match files::read(&path, MAX_FILE_BYTES) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(source) if source.kind() == ErrorKind::NotFound => String::new(),
        Err(source) => return Err(unreadable(&path).with_source(source)),
    };
    if text.is_empty() {
        return Ok(None);
    }
    api_key(&text).map(Some).map_err(|_| unfit(&path))
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// 256 bits from the operating system, in hexadecimal.
fn random_hex() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|source| {
        Error::new(Kind::Setup, "The system's random number generator does not work.").with_source(source)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A new key, written for the owner's eyes only.
fn make(path: &Path) -> Result<Secret> {
    let key = format!("sk-{}", random_hex()?);
    files::replace(path, format!("{key}\n").as_bytes()).map_err(|source| {
        let advice = advice(&source);
        Error::new(Kind::Setup, format!("The API key cannot be saved in {}; {advice}.", path.display()))
            .with_source(source)
    })?;
    Ok(Secret::new(key))
}

fn unreadable(path: &Path) -> Error {
    let path = path.display();
    Error::new(
        Kind::Setup,
        format!("The API key in {path} cannot be read; make the file readable, or set API_KEYS."),
    )
}

fn unfit(path: &Path) -> Error {
    let path = path.display();
    Error::new(
        Kind::Setup,
        format!(
            "{path} does not contain a valid API key: write one of {MIN_LENGTH} to {MAX_LENGTH} visible ASCII characters to it, or remove the file to have a new key generated."
        ),
    )
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

    #[test]
    fn a_session_acts_for_the_first_key_until_it_is_signed_out() {
        let keys = Keys::new(&[Secret::new("first-key"), Secret::new("second-key")]);
        let token = keys.sign_in_token().expect("a token");
        assert!(keys.find(token.expose().as_bytes()).is_none(), "a token is no key");
        let session = keys.sign_in(token.expose().as_bytes()).expect("random numbers").expect("a session");
        let key = session.key.expose().as_bytes();
        assert_eq!(keys.find(key), keys.find(b"first-key"));
        assert!(!keys.sign_out(b"first-key") && keys.sign_out(key));
        assert!(keys.find(key).is_none() && keys.find(b"first-key").is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_made_once_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        // With and without a key in the file, and whatever its permissions.
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

    #[test]
    fn a_file_with_what_is_no_key_stops_the_start_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("api-key");
        for wrong in ["x", "sécret-key", "two words here", "1234567", &"x".repeat(257), &"x".repeat(5000)] {
            std::fs::write(&path, wrong).expect("a file");
            let error = Keys::open(&[], folder.path()).map(drop).expect_err(wrong);
            let named = error.message().contains(&*path.to_string_lossy());
            assert!(named && error.kind() == Kind::Setup, "{error}");
            assert!(wrong.len() == 1 || !error.chain().contains(wrong), "{error:?}");
        }
        std::fs::write(&path, " my-own-key \n").expect("a file");
        let (keys, _) = Keys::open(&[], folder.path()).expect("a key");
        assert!(keys.find(b"my-own-key").is_some());
    }

    #[test]
    fn a_key_that_cannot_be_written_is_not_said_to_be_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Keys::open(&[], &folder.path().join("missing")).map(drop).expect_err("no folder");
        assert!(error.message().starts_with("The API key cannot be saved in "), "{error}");
    }
}

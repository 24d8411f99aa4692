//! sha256 digests, which are also the names of blobs.

use std::{
    fmt,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const HEX_LEN: usize = 64;

/// A sha256 digest as 64 lowercase hexadecimal digits, which is safe as a file name. In a manifest it is
/// written `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest(String);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::new().chain_update(bytes))
    }

    /// Reads `input` to its end and gives every byte to `output`. Returns the number of bytes too.
    pub(super) fn of_copy(input: &mut dyn Read, output: &mut dyn Write) -> Result<(Self, u64), CopyError> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut total = 0;
        loop {
            let len = match input.read(&mut buffer) {
                Ok(0) => return Ok((Self::from_hash(hash), total)),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            hash.update(&buffer[..len]);
            output.write_all(&buffer[..len]).map_err(CopyError::Write)?;
            total += len as u64;
        }
    }

    pub(super) fn from_hash(hash: Sha256) -> Self {
        use fmt::Write;
        let hex = hash.finalize().iter().fold(String::with_capacity(HEX_LEN), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self(hex)
    }

    /// 64 hexadecimal digits.
    pub(super) fn hex(&self) -> &str {
        &self.0
    }

    pub(super) fn blob_name(&self) -> String {
        format!("sha256-{}", self.0)
    }

    /// Returns every digest in a text, whatever the text's format.
    pub(super) fn mentioned_in(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let at: Vec<usize> = text.match_indices("sha256").map(|(at, _)| at).collect();
        at.into_iter().filter_map(move |at| {
            let digest = text.get(at..at + "sha256:".len() + HEX_LEN)?;
            Self::try_from(digest.replacen('-', ":", 1)).ok()
        })
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.strip_prefix("sha256:") {
            Some(hex)
                if hex.len() == HEX_LEN && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) =>
            {
                Ok(Self(hex.to_owned()))
            }
            _ => Err("a digest must be sha256: and 64 hexadecimal digits"),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_names() {
        let digest = Digest::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.blob_name(), format!("sha256-{hex}"));
        let mut copy = Vec::new();
        let (copied, len) = Digest::of_copy(&mut b"abc".as_slice(), &mut copy).expect("a copy in memory");
        assert_eq!((copied, len, copy.as_slice()), (digest, 3, b"abc".as_slice()));
    }

    #[test]
    fn a_digest_cannot_leave_its_folder() {
        let hex = "a".repeat(64);
        assert!(Digest::try_from(format!("sha256:{hex}")).is_ok());
        for text in ["", "sha256:", &hex, "sha256:../../../etc/passwd", &format!("sha256:{}", "A".repeat(64))]
        {
            assert!(Digest::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn finds_digests_in_broken_texts() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let text = format!("{{\"digest\":\"{one}\", sha256 sha256:12 é {} sha256:", two.blob_name());
        assert_eq!(Digest::mentioned_in(text.as_bytes()).collect::<Vec<_>>(), [one, two]);
    }
}

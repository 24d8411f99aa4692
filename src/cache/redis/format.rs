//! Format of an entry in Redis: the name of its key and the bytes of its value. Other clients of that Redis can
//! write anything under our names, so everything read here is verified first; what fails is a miss.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::cache::{
    memory::is_fresh,
    store::{CacheEntry, CacheKey, EntryType},
};

/// Prefix of all our key names, for which invalidations are requested.
pub(super) const PREFIX: &str = "simpleton:";

/// The first byte occurs in no UTF-8 text, so that no text is ever taken for an entry; the second
/// is the version of the format. A reader takes no version but its own.
const MARK: [u8; 2] = [0xC1, 1];
const STORED_AT: usize = MARK.len();
const EXPIRES_AT: usize = STORED_AT + 8;
const CHECK: usize = EXPIRES_AT + 8;
/// Mark, two times in milliseconds since 1970 (little endian), 4 bytes of check sum.
pub(super) const HEADER: usize = CHECK + 4;

/// `simpleton:chat:` and the hash in hexadecimal.
pub(super) fn name(key: &CacheKey) -> String {
    let mut name = prefix_of(key.entry_type);
    for byte in key.hash {
        for digit in [byte >> 4, byte & 15] {
            name.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    name
}

/// Parses a name made by `name`; none for the names of other programs.
pub(super) fn parse_name(name: &[u8]) -> Option<CacheKey> {
    let name = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    let (entry_type, digits) = name.split_once(':')?;
    let entry_type = EntryType::ALL.into_iter().find(|known| known.as_str() == entry_type)?;
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(CacheKey { entry_type, hash })
}

/// Only the digits `name` writes: an upper-case name is another key to Redis.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// The kind a name belongs to, also when the rest of it is not what `name` writes today.
pub(super) fn entry_type_of(name: &[u8]) -> Option<EntryType> {
    EntryType::ALL.into_iter().find(|entry_type| name.starts_with(prefix_of(*entry_type).as_bytes()))
}

/// Pattern for `SCAN MATCH` that finds the names of one type, or all of ours, and no others. No type has a character that
/// means something in a pattern today; escaping keeps it so when one is added.
pub(super) fn pattern(entry_type: Option<EntryType>) -> String {
    let mut pattern = escape(&entry_type.map_or_else(|| PREFIX.to_owned(), prefix_of));
    pattern.push('*');
    pattern
}

fn prefix_of(entry_type: EntryType) -> String {
    format!("{PREFIX}{}:", entry_type.as_str())
}

fn escape(literal: &str) -> String {
    let mut escaped = String::with_capacity(literal.len() + 66);
    for character in literal.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

pub(super) fn encode(key: &CacheKey, entry: &CacheEntry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + entry.value.len());
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&milliseconds(entry.stored_at).to_le_bytes());
    bytes.extend_from_slice(&milliseconds(entry.expires_at).to_le_bytes());
    let check = check(key, &bytes, &entry.value);
    bytes.extend_from_slice(&check);
    bytes.extend_from_slice(&entry.value);
    bytes
}

/// The entry that `encode` has written for this key, if it may be served now.
pub(super) fn decode(key: &CacheKey, bytes: Vec<u8>, now: SystemTime) -> Option<CacheEntry> {
    if bytes.len() < HEADER || !bytes.starts_with(&MARK) {
        return None;
    }
    if check(key, &bytes[..CHECK], &bytes[HEADER..]) != bytes[CHECK..HEADER] {
        return None;
    }
    let time = |at: usize| {
        let field = bytes[at..].first_chunk::<8>()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_le_bytes(*field)))
    };
    let (stored_at, expires_at) = (time(STORED_AT)?, time(EXPIRES_AT)?);
    let entry = CacheEntry { value: Bytes::from(bytes).slice(HEADER..), stored_at, expires_at };
    is_fresh(&entry, now).then_some(entry)
}

/// The key is included: a value copied or renamed to another key is the right answer to another question.
fn check(key: &CacheKey, header: &[u8], value: &[u8]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(key.entry_type.as_str())
        .chain_update(key.hash)
        .chain_update(header)
        .chain_update(value);
    let digest = digest.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(value: Vec<u8>) -> CacheEntry {
        let stored_at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        CacheEntry { value: value.into(), stored_at, expires_at: stored_at + Duration::from_secs(60) }
    }

    fn key(entry_type: EntryType, seed: u8) -> CacheKey {
        CacheKey { entry_type, hash: [seed; 32] }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in prop::collection::vec(any::<u8>(), 0..400), seed: u8) {
            let (key, entry) = (key(EntryType::Chat, seed), entry(value));
            let read = decode(&key, encode(&key, &entry), entry.stored_at);
            prop_assert_eq!(read, Some(entry));
        }

        #[test]
        fn one_wrong_byte_is_a_miss(at in 0_usize..HEADER + 20, flip in 1_u8..) {
            let (key, entry) = (key(EntryType::Chat, 1), entry(vec![7; 20]));
            let mut bytes = encode(&key, &entry);
            bytes[at] ^= flip;
            prop_assert_eq!(decode(&key, bytes, entry.stored_at), None);
        }

        #[test]
        fn garbage_is_a_miss(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&key(EntryType::Chat, 1), bytes, UNIX_EPOCH), None);
        }

        #[test]
        fn a_name_is_read_back(hash: [u8; 32], at in 0..EntryType::ALL.len()) {
            let key = CacheKey { entry_type: EntryType::ALL[at], hash };
            prop_assert_eq!(parse_name(name(&key).as_bytes()), Some(key));
        }
    }

    #[test]
    fn truncated_or_moved_or_late_is_a_miss() {
        let (chat, entry) = (key(EntryType::Chat, 1), entry(vec![7; 20]));
        let bytes = encode(&chat, &entry);
        for length in 0..bytes.len() {
            assert_eq!(decode(&chat, bytes[..length].to_vec(), entry.stored_at), None, "{length}");
        }
        assert_eq!(decode(&key(EntryType::Chat, 2), bytes.clone(), entry.stored_at), None);
        assert_eq!(decode(&key(EntryType::Inference, 1), bytes.clone(), entry.stored_at), None);
        assert_eq!(decode(&chat, bytes, entry.expires_at), None);
    }

    #[test]
    fn an_embedding_is_small() {
        let (key, entry) = (key(EntryType::Embedding, 1), entry(vec![0; 768 * 4]));
        assert!(encode(&key, &entry).len() <= 3_200);
    }

    #[test]
    fn other_peoples_names_are_not_ours() {
        let ours = name(&key(EntryType::Chat, 0xab));
        assert_eq!(ours, format!("simpleton:chat:{}", "ab".repeat(32)));
        for name in [
            ours.to_uppercase(),
            ours.replace("simpleton", "simpleton2"),
            ours.replace("chat", "cat"),
            format!("{ours}0"),
            ours[..ours.len() - 1].to_owned(),
            ours.replace("ab", "AB"),
            ours.replace("ab", "é"),
            "simpleton:".to_owned(),
        ] {
            assert_eq!(parse_name(name.as_bytes()), None, "{name}");
        }
        assert_eq!(parse_name(b"simpleton:chat:\xff"), None);
    }

    #[test]
    fn a_pattern_is_literal_up_to_its_star() {
        assert_eq!(pattern(Some(EntryType::Chat)), "simpleton:chat:*");
        assert_eq!(pattern(None), "simpleton:*");
        assert_eq!(escape(r"c?a*t[a-z]^\"), r"c\?a\*t\[a\-z\]\^\\");
    }
}

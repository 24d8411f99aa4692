//! Holder of an API key.

use super::KeyId;

/// Holder of an API key, known by the key's SHA-256. Whatever is kept apart for each key is kept apart by all
/// of it; the short label is for logs, metrics and statistics only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Principal([u8; 32]);

impl Principal {
    pub const fn new(key_hash: [u8; 32]) -> Self {
        Self(key_hash)
    }

    pub fn id(&self) -> [u8; 32] {
        self.0
    }

    pub fn label(&self) -> KeyId {
        KeyId::new([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.label(), f)
    }
}

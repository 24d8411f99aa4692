//! Limits on documents.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the text.
    pub max_text: usize,
    /// Pages of a PDF, slides of a presentation.
    pub max_pages: u32,
    /// Bytes that are unpacked from a document that is a ZIP archive.
    pub max_unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_text: 32 * 1024 * 1024, max_pages: 10_000, max_unpacked: 256 * 1024 * 1024 }
    }
}

//! Names that callers give to collections and documents. They are data for the store, never part of a
//! statement or of a path.

use std::fmt;

use crate::error::{Error, Result};

const MAX_COLLECTION_CHARS: usize = 128;
const MAX_DOCUMENT_CHARS: usize = 256;

/// Name of a collection: 1 to 128 letters and digits of any script, `_`, `-` and `.`, the first of which is no
/// dot. Upper and lower case are different names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionName(String);

impl CollectionName {
    /// # Errors
    /// `Invalid`, at `/collection`, when the name breaks the rule.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let has_length =
            (1..=MAX_COLLECTION_CHARS).contains(&name.chars().take(MAX_COLLECTION_CHARS + 1).count());
        if has_length && !name.starts_with('.') && name.chars().all(is_allowed) {
            return Ok(Self(name));
        }
        Err(Error::field(
            "/collection",
            "must have 1 to 128 characters: letters, digits, '_', '-' and '.', and no '.' at the start",
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a document in all collections: 1 to 256 characters without control characters, such as a path. It is a
/// part of URLs, from which clients remove `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId(String);

impl DocumentId {
    /// # Errors
    /// `Invalid`, at `/document_id`, when the id breaks the rule.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let has_length = (1..=MAX_DOCUMENT_CHARS).contains(&id.chars().take(MAX_DOCUMENT_CHARS + 1).count());
        if has_length && !id.chars().any(char::is_control) && !matches!(id.as_str(), "." | "..") {
            return Ok(Self(id));
        }
        let detail = "must have 1 to 256 characters, no control characters, and not be '.' or '..'";
        Err(Error::field("/document_id", detail))
    }

    /// A new id, different from all others.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Id of the chunk at this position of the document.
    pub fn chunk(&self, index: usize) -> String {
        format!("{}#{index}", self.0)
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_collections_are_words_of_any_script() {
        let longest = "ä".repeat(128);
        for name in ["docs", "v1.2_final-", "文档", "größe", "7", longest.as_str()] {
            assert_eq!(CollectionName::new(name).expect(name).as_str(), name);
        }
        let too_long = "a".repeat(129);
        let huge = "a".repeat(10_000);
        for name in [
            "",
            ".",
            ".hidden",
            "a/b",
            "..",
            "a b",
            "a\nb",
            "a\0",
            "x'; DROP TABLE",
            "😀",
            "a\\b",
            "a\u{202e}b",
            &too_long,
            &huge,
        ] {
            let error = CollectionName::new(name).expect_err(name);
            assert_eq!(error.field_errors()[0].pointer, "/collection", "{name:?}");
        }
    }

    #[test]
    fn ids_of_documents_may_be_paths() {
        for id in ["a", "docs/guide/intro.md", "C:\\x y.txt", "#1", "日本"] {
            assert_eq!(DocumentId::new(id).expect(id).as_str(), id);
        }
        for id in ["", "a\nb", "\0", ".", "..", &"x".repeat(257)] {
            assert!(DocumentId::new(id).is_err(), "{id:?}");
        }
        assert_ne!(DocumentId::random(), DocumentId::random());
    }
}

//! Refusals of documents: a reason from a closed set, and a sentence without its subject for the caller.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Limits;

/// Reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The document has no bytes, or no text.
    Empty,
    /// The format is not supported, or is none of text.
    Format,
    /// The document needs a password.
    Encrypted,
    /// More text, pages or unpacked bytes than are accepted.
    TooLarge,
    /// The format was recognised, but the data is damaged.
    Damaged,
}

/// Refusal of a document, without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: RefusalReason,
    /// Predicate of a sentence about the document: `is empty; …`.
    pub detail: String,
}

impl Refusal {
    pub(super) fn empty() -> Self {
        Self::new(RefusalReason::Empty, "is empty; send a document with text")
    }

    pub(super) fn no_text() -> Self {
        Self::new(RefusalReason::Empty, "has no text")
    }

    pub(super) fn binary() -> Self {
        let detail = "is not a document with text; send a text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, ODT, EPUB, RTF, CSV, JSON, e-mail or source file";
        Self::new(RefusalReason::Format, detail)
    }

    pub(super) fn image() -> Self {
        Self::new(RefusalReason::Format, "is an image; send images to /vision/ocr")
    }

    pub(super) fn old_office() -> Self {
        let detail = "is in the format of Office 97 to 2003; save it as DOCX, XLSX or PPTX";
        Self::new(RefusalReason::Format, detail)
    }

    pub(super) fn encrypted() -> Self {
        Self::new(
            RefusalReason::Encrypted,
            "is protected by a password; remove the password and send it again",
        )
    }

    pub fn too_much_text(limits: &Limits) -> Self {
        Self::too_large("text", limits.max_text as u64)
    }

    pub(super) fn too_much_unpacked(limits: &Limits) -> Self {
        Self::too_large("data once it is unpacked", limits.max_unpacked)
    }

    pub(super) fn too_many_pages(limits: &Limits) -> Self {
        let most = limits.max_pages;
        Self::new(
            RefusalReason::TooLarge,
            format!("has too many pages (at most {most}); split it into several documents"),
        )
    }

    pub(super) fn too_deep() -> Self {
        Self::new(RefusalReason::Damaged, "nests its elements too deeply")
    }

    /// Refusal of damaged data; `format` is the format's usual name.
    pub fn damaged(format: &str) -> Self {
        let detail = format!("cannot be read: its {format} data is damaged or cut off");
        Self::new(RefusalReason::Damaged, detail)
    }

    /// Refusal of a document that a parser gave up on.
    pub fn unreadable() -> Self {
        Self::new(RefusalReason::Damaged, "cannot be read: its data is damaged")
    }

    /// Whether a refusal with this detail says that there is no text, not that it could not be read.
    pub fn is_without_text(detail: &str) -> bool {
        let refusals = [Self::empty(), Self::no_text(), Self::binary(), Self::image(), Self::old_office()];
        refusals.iter().any(|refusal| refusal.detail == detail)
    }

    fn too_large(what: &str, most: u64) -> Self {
        let megabytes = most / (1024 * 1024);
        let detail = format!("has more than {megabytes} MB of {what}; split it into several documents");
        Self::new(RefusalReason::TooLarge, detail)
    }

    fn new(reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The document {}.", self.detail)
    }
}

impl std::error::Error for Refusal {}

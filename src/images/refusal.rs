//! Refusals of images: a reason from a closed set, for metrics, and the error for the caller.

use std::{error::Error as StdError, fmt};

use crate::error::{Error, Kind};

use super::ImageLimits;

/// Reason for a refusal, usable as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// A URL in place of the image.
    Url,
    /// The text is not base64.
    Base64,
    /// The image is empty.
    Empty,
    /// More bytes than are accepted.
    Bytes,
    /// The format is not supported.
    Format,
    /// More pixels than are accepted.
    Pixels,
    /// The format was recognised, but the data is damaged.
    Broken,
}

impl RefusalReason {
    pub const ALL: [Self; 7] =
        [Self::Url, Self::Base64, Self::Empty, Self::Bytes, Self::Format, Self::Pixels, Self::Broken];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Base64 => "base64",
            Self::Empty => "empty",
            Self::Bytes => "bytes",
            Self::Format => "format",
            Self::Pixels => "pixels",
            Self::Broken => "broken",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Refusal {
    pub reason: RefusalReason,
    /// Error of a field without its pointer.
    error: Error,
}

impl Refusal {
    /// Returns the error for the image at this JSON pointer in the request.
    pub fn at(self, pointer: &str) -> Error {
        self.error.at(|_| pointer.to_owned())
    }

    pub(super) fn url() -> Self {
        Self::not_fetched("must be the image itself as base64; URLs are not fetched")
    }

    /// Refusal of an image that was not fetched, for this reason.
    pub fn not_fetched(detail: impl Into<String>) -> Self {
        Self::new(RefusalReason::Url, Kind::Invalid, detail)
    }

    pub(super) fn base64(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(RefusalReason::Base64, Kind::Malformed, "is not valid base64").with_source(source)
    }

    pub(super) fn data_uri() -> Self {
        let detail = "is not a base64 data URI; send data:image/png;base64, followed by the image as base64";
        Self::new(RefusalReason::Base64, Kind::Malformed, detail)
    }

    pub(super) fn empty() -> Self {
        let detail = "is empty; send a PNG, JPEG, GIF, WebP or BMP";
        Self::new(RefusalReason::Empty, Kind::Malformed, detail)
    }

    /// Refusal for code that counts bytes while they arrive.
    pub fn bytes(limits: &ImageLimits) -> Self {
        let megabytes = limits.max_bytes / (1024 * 1024);
        Self::new(RefusalReason::Bytes, Kind::TooLarge, format!("is larger than {megabytes} MB"))
    }

    pub(super) fn format() -> Self {
        let detail = "is not a supported image; send a PNG, JPEG, GIF, WebP or BMP";
        Self::new(RefusalReason::Format, Kind::Malformed, detail)
    }

    /// Refusal of metadata that takes too much memory.
    pub(super) fn metadata(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let detail = "has too much metadata; save it without metadata";
        Self::new(RefusalReason::Bytes, Kind::TooLarge, detail).with_source(source)
    }

    pub(super) fn pixels(width: u32, height: u32, limits: &ImageLimits) -> Self {
        let most = limits.max_pixels;
        let detail = format!("has {width} × {height} pixels; at most {most} are accepted");
        Self::new(RefusalReason::Pixels, Kind::TooLarge, detail)
    }

    /// Refusal of damaged data; `format` is the format's usual name.
    pub fn broken(format: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let detail = format!("cannot be decoded: its {format} data is damaged or cut off");
        Self::new(RefusalReason::Broken, Kind::Malformed, detail).with_source(source)
    }

    fn new(reason: RefusalReason, kind: Kind, detail: impl Into<String>) -> Self {
        Self { reason, error: Error::field("", detail).of_kind(kind) }
    }

    fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { error: self.error.with_source(source), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The image {}", self.error.message())
    }
}

impl StdError for Refusal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

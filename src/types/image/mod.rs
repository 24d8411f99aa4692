//! A picture that is known to decode. Whatever bytes a caller sends are read here, within limits on
//! bytes and on pixels, made upright, opaque and no larger than a model can use, and encoded anew, so
//! that no backend ever sees a caller's bytes. All of it is plain computing that takes milliseconds
//! to seconds: call it where blocking is allowed.

mod decode;
mod encode;
mod encoded;
mod file;
mod pixels;
mod refusal;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

pub use self::{
    encoded::EncodedImage,
    file::ImageFile,
    pixels::Pixels,
    refusal::{Refusal, RefusalReason},
};

/// Limits on accepted images, and the size passed on to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of a file.
    pub max_bytes: usize,
    /// Width times height, as the file's header states them.
    pub max_pixels: u64,
    /// The longer side of what is passed on; larger pictures are scaled down.
    pub max_side: u32,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self { max_bytes: 20 * 1024 * 1024, max_pixels: 50_000_000, max_side: 2048 }
    }
}

/// A picture ready for a backend: upright RGB of 8 bits, without metadata.
#[derive(Clone)]
pub struct Image {
    file: Bytes,
    media_type: &'static str,
    size: (u32, u32),
    pixels: [u8; 32],
}

impl Image {
    /// All steps at once: from the bytes of a PNG, JPEG, GIF (first frame), WebP or BMP, recognised by
    /// content.
    ///
    /// # Errors
    /// Whatever `ImageFile::open` and `ImageFile::decode` refuse.
    pub fn from_bytes(bytes: impl Into<Bytes>, limits: &ImageLimits) -> Result<Self, Refusal> {
        let file = ImageFile::open(bytes.into(), limits)?;
        Ok(file.decode(limits.max_side)?.fit(limits.max_side).encode())
    }

    /// The bytes of a PNG or JPEG file.
    pub fn file(&self) -> &Bytes {
        &self.file
    }

    /// `image/png` or `image/jpeg`.
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// SHA-256 of the size and the pixels: the same for one picture in different files, however each
    /// of them was compressed without loss.
    pub fn pixel_hash(&self) -> &[u8; 32] {
        &self.pixels
    }

    /// The file as base64, as the backends' JSON takes it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.file)
    }
}

impl fmt::Debug for Image {
    /// Without the pixels, which may be anybody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "Image({}, {width} × {height}, {} bytes)", self.media_type, self.file.len())
    }
}

#[cfg(test)]
mod tests;

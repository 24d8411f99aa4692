//! Callers' images: read within limits on bytes and pixels, rotated upright, made opaque, scaled down to what a
//! model can use, and encoded anew, so that no backend sees a caller's bytes. No I/O, but milliseconds to
//! seconds of computation: to be called on threads for blocking work.

mod decode;
mod encode;
mod encoded;
mod file;
mod limits;
mod pixels;
mod refusal;
mod sniff;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

pub use self::{
    encoded::EncodedImage,
    file::ImageFile,
    limits::ImageLimits,
    pixels::Pixels,
    refusal::{Refusal, RefusalReason},
};

/// An image ready for a backend: upright RGB of 8 bits, without metadata.
#[derive(Clone)]
pub struct Image {
    file: Bytes,
    media_type: &'static str,
    size: (u32, u32),
    pixels: [u8; 32],
}

impl Image {
    /// Decodes and encodes a PNG, JPEG, GIF (first frame), WebP or BMP, recognised by content.
    ///
    /// # Errors
    /// Those of `ImageFile::open` and `ImageFile::decode`.
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

    /// SHA-256 of the size and the pixels: equal for one image in different files, as long as their compression
    /// is lossless.
    pub fn pixel_hash(&self) -> &[u8; 32] {
        &self.pixels
    }

    /// Encodes the file as base64, for backends' JSON.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.file)
    }
}

impl fmt::Debug for Image {
    /// Without the pixels, which may be private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        write!(f, "Image({}, {width} × {height}, {} bytes)", self.media_type, self.file.len())
    }
}

#[cfg(test)]
mod tests;

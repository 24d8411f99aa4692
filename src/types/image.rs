//! A picture that is known to decode. Whatever bytes a caller sends are decoded here, within limits
//! on bytes and pixels, and encoded anew, so that a backend never sees a caller's bytes.

use std::io::Cursor;

use base64::{Engine, engine::general_purpose as base64_engine};
use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use crate::error::{Error, Kind, Result};

/// 20 MB of encoded image.
const MAX_BYTES: usize = 20 * 1024 * 1024;
/// 50 million pixels.
const MAX_PIXELS: u64 = 50_000_000;

/// A decoded and re-encoded picture, ready for a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    png: Bytes,
}

impl Image {
    /// From base64, standard or URL-safe, with or without a `data:` URI around it. This decodes the
    /// pixels and takes milliseconds to seconds of CPU: call it where blocking is allowed.
    pub fn from_base64(text: &str) -> Result<Self> {
        if text.contains("://") {
            return Err(Error::new(
                Kind::Invalid,
                "Images are not fetched from URLs; send the image itself as base64.",
            ));
        }
        let payload = match text.strip_prefix("data:") {
            Some(rest) => rest.split_once(',').map_or(rest, |(_, payload)| payload),
            None => text,
        };
        if payload.len() / 4 * 3 > MAX_BYTES {
            return Err(too_large());
        }
        let compact: String;
        let payload = if payload.bytes().any(|byte| byte.is_ascii_whitespace()) {
            compact = payload.split_ascii_whitespace().collect();
            &compact
        } else {
            payload
        };
        let payload = payload.trim_end_matches('=');
        let bytes = base64_engine::STANDARD_NO_PAD
            .decode(payload)
            .or_else(|_| base64_engine::URL_SAFE_NO_PAD.decode(payload))
            .map_err(|source| {
                Error::new(Kind::Malformed, "The image is not valid base64.").because(source)
            })?;
        Self::from_bytes(&bytes)
    }

    /// From the bytes of a PNG, JPEG, GIF (first frame), WebP or BMP, recognised by content.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(too_large());
        }
        let undecodable = |source: image::ImageError| {
            Error::new(Kind::Malformed, "The image cannot be decoded; send PNG, JPEG, GIF, WebP or BMP.")
                .because(source)
        };
        let format = image::guess_format(bytes).map_err(undecodable)?;
        // Twice: once for the size in the header, before any pixel is allocated.
        let reader = || ImageReader::with_format(Cursor::new(bytes), format);
        let (width, height) = reader().into_dimensions().map_err(undecodable)?;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(Error::new(
                Kind::TooLarge,
                format!("The image has {width} × {height} pixels; at most 50 million are accepted."),
            ));
        }
        let mut limits = Limits::default();
        limits.max_alloc = Some(512 * 1024 * 1024);
        let mut reader = reader();
        reader.limits(limits);
        let pixels = DynamicImage::ImageRgb8(reader.decode().map_err(undecodable)?.into_rgb8());
        let mut png = Vec::new();
        pixels.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map_err(undecodable)?;
        Ok(Self { png: png.into() })
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> &[u8] {
        &self.png
    }

    /// The picture as base64 of a PNG file, as the backends' JSON takes it.
    pub fn to_base64(&self) -> String {
        base64_engine::STANDARD.encode(&self.png)
    }
}

fn too_large() -> Error {
    Error::new(Kind::TooLarge, "The image is larger than 20 MB.")
}

//! Callers' images, as files or as base64: each is an image or a refusal, in bounded time and memory.

use bytes::Bytes;

use crate::images::{EncodedImage, Image, ImageLimits};

/// Small, so that many images are tried.
const LIMITS: ImageLimits = ImageLimits { max_bytes: 1024 * 1024, max_pixels: 256 * 1024, max_side: 128 };

pub fn images(input: &[u8]) {
    decode(input.to_vec().into());
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(bytes) = EncodedImage::from_base64(text).into_bytes()
    {
        assert!(bytes.len() <= text.len());
        decode(bytes);
    }
}

fn decode(bytes: Bytes) {
    let Ok(image) = Image::from_bytes(bytes, &LIMITS) else { return };
    let (width, height) = image.size();
    assert!(width.max(height) <= LIMITS.max_side && width.min(height) > 0);
    // What is passed on is itself an image of the same size.
    let again = Image::from_bytes(image.file().clone(), &LIMITS).expect("what we encode can be decoded");
    assert_eq!(again.size(), image.size());
}

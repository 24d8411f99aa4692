//! Whatever bytes a caller sends as a picture, as a file or as base64: each is a picture or a refusal,
//! in bounded time and memory, and never a panic. Takes the program's own files instead of its crate:
//! they are pure, and the rest would cost minutes to build.
#![no_main]

#[path = "../../src/error.rs"]
#[expect(dead_code, reason = "the program uses the rest")]
mod error;
#[path = "../../src/images/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the program uses the rest")]
mod images;

use images::{EncodedImage, Image, ImageLimits};
use libfuzzer_sys::fuzz_target;

/// Small, so that many pictures are tried.
const LIMITS: ImageLimits = ImageLimits { max_bytes: 1024 * 1024, max_pixels: 256 * 1024, max_side: 128 };

fuzz_target!(|data: &[u8]| {
    check(data.to_vec().into());
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(bytes) = EncodedImage::from_base64(text).into_bytes()
    {
        assert!(bytes.len() <= text.len());
        check(bytes);
    }
});

fn check(bytes: bytes::Bytes) {
    let Ok(image) = Image::from_bytes(bytes, &LIMITS) else { return };
    let (width, height) = image.size();
    assert!(width.max(height) <= LIMITS.max_side && width.min(height) > 0);
    // What is passed on is itself a picture of the same size.
    let again = Image::from_bytes(image.file().clone(), &LIMITS).expect("what we encode can be decoded");
    assert_eq!(again.size(), image.size());
}

//! Encoder: from pixels to the file for a backend, and the hash for the cache.
//!
//! An image that came as JPEG is encoded as JPEG: its details are already lost, a second generation at this
//! quality loses none that a model sees, and as PNG a photograph of 2048 pixels takes several times the bytes
//! and the time. Everything else is encoded as PNG, without loss: these are mostly texts and drawings, which
//! JPEG smears.

use bytes::Bytes;
use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use sha2::{Digest, Sha256};

use super::Image;

const JPEG_QUALITY: u8 = 85;

pub(super) fn encode(rgb: &RgbImage, lossy: bool) -> Image {
    let (width, height) = rgb.dimensions();
    let (file, media_type) = match (u16::try_from(width), u16::try_from(height)) {
        (Ok(width), Ok(height)) if lossy => (jpeg(rgb, width, height), "image/jpeg"),
        _ => (png(rgb), "image/png"),
    };
    let mut hash = Sha256::new();
    hash.update(width.to_le_bytes());
    hash.update(height.to_le_bytes());
    hash.update(rgb.as_raw());
    Image { file: Bytes::from(file), media_type, size: (width, height), pixels: hash.finalize().into() }
}

fn jpeg(rgb: &RgbImage, width: u16, height: u16) -> Vec<u8> {
    let mut file = Vec::with_capacity(rgb.len() / 8);
    let mut encoder = Encoder::new(&mut file, JPEG_QUALITY);
    // Colours at half the resolution, as cameras have them.
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(rgb, width, height, ColorType::Rgb).expect("a Vec takes everything");
    file
}

fn png(rgb: &RgbImage) -> Vec<u8> {
    let (width, height) = rgb.dimensions();
    let mut file = Vec::with_capacity(rgb.len() / 4);
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    encoder.write_image(rgb, width, height, ExtendedColorType::Rgb8).expect("a Vec takes everything");
    file
}

//! A photograph's worth of pixels: smooth colours, edges, and the grain of a sensor.

use image::{Rgb, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::support::Result;

/// 12 megapixels, as a telephone takes them.
pub const SIZE: (u16, u16) = (4000, 3000);

/// A JPEG of about 3 MB, as a camera compresses it: colours at half the resolution.
pub fn jpeg() -> Result<Vec<u8>> {
    let (width, height) = SIZE;
    let mut grain = 1_u32;
    let pixels = RgbImage::from_fn(width.into(), height.into(), |x, y| {
        grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = ((grain >> 24) as f32 - 128.0) * 0.08;
        let (u, v) = (x as f32 / f32::from(width), y as f32 / f32::from(height));
        let wave = (u * 40.0).sin() * 40.0 + (v * 31.0 + u * 7.0).cos() * 50.0 + 128.0;
        let edge = if (x / 97 + y / 61).is_multiple_of(7) { 40.0 } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let byte = |value: f32| value.clamp(0.0, 255.0) as u8;
        Rgb([byte(wave + noise + edge), byte(wave * 0.8 + noise + u * 40.0), byte(255.0 - wave + noise)])
    });
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&pixels, width, height, ColorType::Rgb)?;
    Ok(file)
}

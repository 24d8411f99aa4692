//! From a file to pixels: decoded, opaque, and told which way is up.

use image::{DynamicImage, ImageDecoder, ImageError, RgbImage, metadata::Orientation};

use super::{
    ImageFile, Pixels, Refusal,
    file::{Format, broken_jpeg, decoder, jpeg_decoder},
};

pub(super) fn decode(file: &ImageFile) -> Result<Pixels, Refusal> {
    let decoded = match file.format {
        Format::Jpeg => jpeg(&file.bytes),
        Format::Other(format) => other(&file.bytes, format, file.pixels()),
    };
    let (rgb, orientation) = decoded.map_err(|source| Refusal::broken(file.format.name(), source))?;
    Ok(Pixels { rgb, orientation, lossy: file.format == Format::Jpeg })
}

/// Straight by the library that the `image` crate uses, too, which there copies the file and cannot
/// give a grey picture as RGB at once.
fn jpeg(bytes: &[u8]) -> Result<(RgbImage, Orientation), ImageError> {
    if is_cut_off(bytes) {
        return Err(broken_jpeg("it ends before its end marker"));
    }
    let mut decoder = jpeg_decoder(bytes);
    let pixels = decoder.decode().map_err(broken_jpeg)?;
    let info = decoder.info().ok_or_else(|| broken_jpeg("no frame"))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let rgb = RgbImage::from_raw(info.width.into(), info.height.into(), pixels);
    let rgb = rgb.ok_or_else(|| broken_jpeg("not as many pixels as its header says"))?;
    Ok((rgb, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether there is no end-of-image marker after the first start of a scan (ITU T.81, B.1.1.3): the
/// decoder would fill the rest with grey. Before that, a thumbnail in the metadata may have its own.
fn is_cut_off(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some([0xff, marker, length @ ..]) = jpeg.get(at..at + 4) {
        at += match *marker {
            // A fill byte before a marker, and markers that stand alone.
            0xff => 1,
            0x01 | 0xd0..=0xd8 => 2,
            START_OF_SCAN => break,
            _ => 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
        };
    }
    // From behind: nearly always the last two bytes.
    let scans = jpeg.get(at..).unwrap_or_default();
    !scans.windows(2).rev().any(|pair| pair == END_OF_IMAGE)
}

fn other(
    bytes: &[u8],
    format: image::ImageFormat,
    pixels: u64,
) -> Result<(RgbImage, Orientation), ImageError> {
    let mut decoder = decoder(bytes, format, pixels)?;
    // A picture whose metadata is damaged is shown as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder)?;
    Ok((opaque(decoded), orientation))
}

/// On white, as a page would show it.
fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (out, pixel) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        let alpha = u32::from(pixel[3]);
        for (out, value) in out.iter_mut().zip(pixel) {
            let mixed = (u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255;
            *out = u8::try_from(mixed).unwrap_or(u8::MAX);
        }
    }
    rgb
}

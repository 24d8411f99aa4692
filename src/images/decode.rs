//! Decoder: from a file to opaque pixels and their orientation.

use std::io::Cursor;

use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageReader, Limits, RgbImage, metadata::Orientation,
};
use memchr::memmem;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{Pixels, Refusal, sniff::Format};

/// Decodes a file; `pixels` is width times height according to its header.
pub(super) fn decode(bytes: &[u8], format: Format, pixels: u64, max_side: u32) -> Result<Pixels, Refusal> {
    let decoded = match format {
        Format::Jpeg => jpeg(bytes, max_side),
        Format::Other(format) => other(bytes, format, pixels),
    };
    let (rgb, orientation) = decoded.map_err(|source| Refusal::broken(format.name(), source))?;
    Ok(Pixels { rgb, orientation, lossy: format == Format::Jpeg })
}

/// Decodes a JPEG with the library that the `image` crate uses; through that crate the file would be copied,
/// and a grey image could not be read as RGB.
fn jpeg(bytes: &[u8], max_side: u32) -> Result<(RgbImage, Orientation), ImageError> {
    check_markers(bytes).map_err(broken_jpeg)?;
    let mut decoder = zune_decoder(bytes);
    decoder.decode_headers().map_err(broken_jpeg)?;
    let info = decoder.info().ok_or_else(|| broken_jpeg("no frame"))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if let Some(reduced) = reduced_jpeg(bytes, width.max(height), max_side) {
        return Ok((reduced, orientation));
    }
    let pixels = decoder.decode().map_err(broken_jpeg)?;
    let rgb = RgbImage::from_raw(width, height, pixels);
    Ok((rgb.ok_or_else(|| broken_jpeg("not as many pixels as its header says"))?, orientation))
}

/// Decodes a JPEG at a half, a quarter or an eighth of its size, directly from its coefficients: for a
/// photograph of 12 megapixels this takes a third of the time, and a quarter of the memory, of decoding and
/// scaling. None if that would be too small, or if only the other decoder supports the file.
fn reduced_jpeg(bytes: &[u8], longest: u32, max_side: u32) -> Option<RgbImage> {
    use jpeg_decoder::{CodingProcess::DctSequential, Decoder, PixelFormat};
    // Up to a tenth smaller than requested is not worth the difference.
    let large_enough = |part: &u32| u64::from(longest / part) * 10 >= u64::from(max_side) * 9;
    let part = [8, 4, 2].into_iter().find(large_enough)?;
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    // A progressive file needs all coefficients in memory anyway.
    if info.coding_process != DctSequential {
        return None;
    }
    let side = |side: u16| u32::from(side).div_ceil(part).try_into().ok();
    let (width, height) = decoder.scale(side(info.width)?, side(info.height)?).ok()?;
    let pixels = decoder.decode().ok()?;
    let (width, height) = (width.into(), height.into());
    match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels),
        PixelFormat::L8 => {
            Some(DynamicImage::ImageLuma8(GrayImage::from_raw(width, height, pixels)?).into_rgb8())
        }
        PixelFormat::L16 | PixelFormat::CMYK32 => None,
    }
}

const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
/// Maximum number of scans; a progressive file has about ten. Each costs a pass over the whole image, and only
/// a few bytes.
const MAX_SCANS: usize = 500;

/// Whether there are too many scans, or no end-of-image marker after the first of them (ITU T.81, B.1.1.3): the
/// decoder would fill the rest with grey. Before that, a thumbnail in the metadata may have its own.
fn check_markers(jpeg: &[u8]) -> Result<(), &'static str> {
    if memmem::find_iter(jpeg, &START_OF_SCAN).nth(MAX_SCANS).is_some() {
        return Err("it has too many scans");
    }
    let mut at = 2;
    while let Some([0xff, marker, length @ ..]) = jpeg.get(at..at + 4) {
        at += match *marker {
            // A fill byte before a marker, and markers that stand alone.
            0xff => 1,
            0x01 | 0xd0..=0xd8 => 2,
            0xda => break,
            _ => 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
        };
    }
    let scans = jpeg.get(at..).unwrap_or_default();
    memmem::rfind(scans, &END_OF_IMAGE).map(|_| ()).ok_or("it ends before its end marker")
}

fn other(
    bytes: &[u8],
    format: image::ImageFormat,
    pixels: u64,
) -> Result<(RgbImage, Orientation), ImageError> {
    let mut decoder = decoder(bytes, format, pixels)?;
    // An image with damaged metadata is not rotated.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder)?;
    Ok((opaque(decoded), orientation))
}

/// Composes the image on white, as a page would show it.
fn opaque(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
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

/// Width and height from the header.
pub(super) fn dimensions(bytes: &[u8], format: Format) -> image::ImageResult<(u32, u32)> {
    match format {
        Format::Jpeg => {
            let mut decoder = zune_decoder(bytes);
            decoder.decode_headers().map_err(broken_jpeg)?;
            let info = decoder.info().ok_or_else(|| broken_jpeg("no frame"))?;
            Ok((info.width.into(), info.height.into()))
        }
        Format::Other(format) => Ok(decoder(bytes, format, 0)?.dimensions()),
    }
}

/// Decodes to RGB, whatever the colours of the file.
fn zune_decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        // Files that browsers show are accepted, too.
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn broken_jpeg(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> image::ImageError {
    image::ImageError::Decoding(image::error::DecodingError::new(image::ImageFormat::Jpeg.into(), source))
}

/// Bytes that a decoder may allocate besides the pixels, which limits decompressed metadata.
const MAX_BESIDES: u64 = 64 * 1024 * 1024;
/// Bytes of a pixel: 16 bits each of red, green, blue and alpha.
const MAX_BYTES_PER_PIXEL: u64 = 8;

/// Limits for decoding so many `pixels`; none to read the header.
fn decoder(
    bytes: &[u8],
    format: image::ImageFormat,
    pixels: u64,
) -> image::ImageResult<impl ImageDecoder + '_> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BESIDES + pixels * MAX_BYTES_PER_PIXEL);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader.into_decoder()
}

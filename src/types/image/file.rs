//! A picture's file whose header has been read: its format is known and its size is within the
//! limits, but no pixel has been allocated yet.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageDecoder, ImageReader, Limits};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{ImageLimits, Pixels, Refusal, decode};

pub struct ImageFile {
    pub(super) bytes: Bytes,
    pub(super) format: Format,
    width: u32,
    height: u32,
}

/// The formats that are read, recognised by their first bytes and not by any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Other(image::ImageFormat),
}

impl Format {
    fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        match image::guess_format(bytes) {
            Ok(Jpeg) => Ok(Self::Jpeg),
            Ok(format @ (Png | Gif | WebP | Bmp)) => Ok(Self::Other(format)),
            _ => Err(Refusal::format()),
        }
    }

    /// Width and height, where the first bytes of every file have them: PNG (its `IHDR`) and BMP (a
    /// `BITMAPINFOHEADER` or one of its successors, whose height is negative when the top row comes first).
    fn stated(self, bytes: &[u8]) -> Option<(u32, u32)> {
        use image::ImageFormat::{Bmp, Png};
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        match self {
            Self::Other(Png) => Some((u32::from_be_bytes(word(16)?), u32::from_be_bytes(word(20)?))),
            Self::Other(Bmp) if u32::from_le_bytes(word(14)?) >= 40 => {
                let side = |at| Some(i32::from_le_bytes(word(at)?).unsigned_abs());
                Some((side(18)?, side(22)?))
            }
            _ => None,
        }
    }

    /// As people write it.
    pub(super) fn name(self) -> &'static str {
        use image::ImageFormat::{Gif, Png, WebP};
        match self {
            Self::Jpeg => "JPEG",
            Self::Other(Png) => "PNG",
            Self::Other(Gif) => "GIF",
            Self::Other(WebP) => "WebP",
            Self::Other(_) => "BMP",
        }
    }
}

impl ImageFile {
    /// Reads the header only.
    ///
    /// # Errors
    /// When there are too many bytes or pixels, or it is no picture of a known format.
    pub fn open(bytes: Bytes, limits: &ImageLimits) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Err(Refusal::empty());
        }
        if bytes.len() > limits.max_bytes {
            return Err(Refusal::bytes(limits));
        }
        let format = Format::of(&bytes)?;
        let check = |(width, height): (u32, u32)| {
            let is_too_large = u64::from(width) * u64::from(height) > limits.max_pixels;
            if is_too_large { Err(Refusal::pixels(width, height, limits)) } else { Ok((width, height)) }
        };
        // Before the decoder does, which gives up on many pixels without saying that they are many.
        format.stated(&bytes).map(check).transpose()?;
        let (width, height) = dimensions(&bytes, format).map_err(|source| match source {
            image::ImageError::Limits(_) => Refusal::metadata(source),
            source => Refusal::broken(format.name(), source),
        })?;
        if width == 0 || height == 0 {
            return Err(Refusal::broken(format.name(), "it has no pixels"));
        }
        check((width, height))?;
        Ok(Self { bytes, format, width, height })
    }

    /// Width times height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Bytes of the file.
    pub fn file_size(&self) -> usize {
        self.bytes.len()
    }

    /// The first picture in it, opaque. Takes up to 12 bytes of memory for each pixel. Where `max_side`
    /// is far smaller it may come scaled down already, though not much below that.
    ///
    /// # Errors
    /// When the data is damaged or cut off.
    pub fn decode(self, max_side: u32) -> Result<Pixels, Refusal> {
        decode::decode(&self, max_side)
    }
}

fn dimensions(bytes: &[u8], format: Format) -> image::ImageResult<(u32, u32)> {
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

/// Asks for RGB whatever the file has.
pub(super) fn zune_decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        // What a browser shows is accepted, too.
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

pub(super) fn broken_jpeg(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> image::ImageError {
    image::ImageError::Decoding(image::error::DecodingError::new(image::ImageFormat::Jpeg.into(), source))
}

/// Bytes that a decoder may allocate besides the pixels: a bound on what metadata can unpack to.
const MAX_BESIDES: u64 = 64 * 1024 * 1024;
/// 16 bits each of red, green, blue and alpha.
const MAX_BYTES_PER_PIXEL: u64 = 8;

/// `pixels` are those that are going to be decoded; none to read the header.
pub(super) fn decoder(
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

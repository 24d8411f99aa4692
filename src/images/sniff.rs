//! Formats of image files, recognised by their content.

use super::Refusal;

/// Supported formats, recognised by their first bytes and not by any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Other(image::ImageFormat),
}

impl Format {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        match image::guess_format(bytes) {
            Ok(Jpeg) => Ok(Self::Jpeg),
            Ok(format @ (Png | Gif | WebP | Bmp)) => Ok(Self::Other(format)),
            _ => Err(Refusal::format()),
        }
    }

    /// Width and height, where the first bytes of every file have them: PNG (its `IHDR`) and BMP (a
    /// `BITMAPINFOHEADER` or one of its successors, whose height is negative when the top row comes first).
    pub(super) fn stated(self, bytes: &[u8]) -> Option<(u32, u32)> {
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

    /// Usual name.
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

//! Image file with a parsed header: its format is known and its size is within the limits, but no pixel has
//! been allocated yet.

use bytes::Bytes;

use super::{
    ImageLimits, Pixels, Refusal,
    decode::{decode, dimensions},
    sniff::Format,
};

pub struct ImageFile {
    bytes: Bytes,
    format: Format,
    width: u32,
    height: u32,
}

impl ImageFile {
    /// Reads the header only.
    ///
    /// # Errors
    /// Refuses too many bytes or pixels, and unknown formats.
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
        // Before the decoder does, whose error does not name the number of pixels.
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

    /// Decodes the first image, opaque. Takes up to 12 bytes of memory for each pixel. Where `max_side` is much
    /// smaller, the result may be scaled down already, though not much below that.
    ///
    /// # Errors
    /// Refuses data that is damaged or cut off.
    pub fn decode(self, max_side: u32) -> Result<Pixels, Refusal> {
        decode(&self.bytes, self.format, self.pixels(), max_side)
    }
}

//! Limits on callers' images.

/// Limits on accepted images, and the size passed on to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of a file.
    pub max_bytes: usize,
    /// Width times height, as the file's header states them.
    pub max_pixels: u64,
    /// Maximum of the longer side for models; larger images are scaled down.
    pub max_side: u32,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self { max_bytes: 20 * 1024 * 1024, max_pixels: 50_000_000, max_side: 2048 }
    }
}

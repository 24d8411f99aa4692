//! Metrics of the images that callers send.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::histogram::Histogram;
use crate::{images::RefusalReason, telemetry::text::Exposition};

/// Upper bounds in seconds: from an icon to the largest image on a slow machine.
const DECODE_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

pub struct VisionMetrics {
    decoded: Histogram,
    bytes: AtomicU64,
    pixels: AtomicU64,
    /// In the order of `RefusalReason::ALL`.
    refused: [AtomicU64; RefusalReason::ALL.len()],
}

impl Default for VisionMetrics {
    fn default() -> Self {
        Self {
            decoded: Histogram::new(DECODE_SECONDS),
            bytes: AtomicU64::default(),
            pixels: AtomicU64::default(),
            refused: Default::default(),
        }
    }
}

impl VisionMetrics {
    /// An image that was decoded, scaled and encoded anew, with the size of the file that came.
    pub fn decoded(&self, took: Duration, bytes: usize, pixels: u64) {
        self.decoded.record(took);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.pixels.fetch_add(pixels, Relaxed);
    }

    pub fn refused(&self, reason: RefusalReason) {
        if let Some(at) = RefusalReason::ALL.iter().position(|known| *known == reason) {
            self.refused[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let name = "simpleton_image_decode_seconds";
        out.family(name, "histogram", "Time to decode, scale and re-encode an image.");
        self.decoded.render(out, name, &[]);
        for (name, help, total) in [
            ("simpleton_image_bytes_total", "Bytes of decoded image files.", &self.bytes),
            ("simpleton_image_pixels_total", "Pixels decoded.", &self.pixels),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], total.load(Relaxed) as f64);
        }
        let name = "simpleton_images_refused_total";
        out.family(name, "counter", "Images refused, by reason.");
        for (reason, count) in RefusalReason::ALL.iter().zip(&self.refused) {
            out.sample(name, &[("reason", reason.as_str())], count.load(Relaxed) as f64);
        }
    }
}

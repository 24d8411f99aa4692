//! What is counted of the pictures that callers send.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::text::Exposition;
use crate::types::RefusalReason;

/// Upper bounds in seconds: from an icon to the largest picture on a slow machine.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Default)]
pub struct VisionMetrics {
    /// Pictures by the time they took; one for each bound and one for what is above the last.
    decoded: [AtomicU64; BOUNDS.len() + 1],
    decode_us: AtomicU64,
    bytes: AtomicU64,
    pixels: AtomicU64,
    /// In the order of `RefusalReason::ALL`.
    refused: [AtomicU64; RefusalReason::ALL.len()],
}

impl VisionMetrics {
    /// A picture that was decoded, scaled and encoded anew, with the size of the file that came.
    pub fn decoded(&self, took: Duration, bytes: usize, pixels: u64) {
        let seconds = took.as_secs_f64();
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        self.decoded[at].fetch_add(1, Relaxed);
        self.decode_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
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
        out.family(name, "histogram", "Time to decode, scale and re-encode a picture.");
        let mut count = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (in_bucket, bound) in self.decoded.iter().zip(bounds) {
            count += in_bucket.load(Relaxed);
            out.sample("simpleton_image_decode_seconds_bucket", &[("le", &bound)], count as f64);
        }
        let seconds = self.decode_us.load(Relaxed) as f64 / 1e6;
        out.sample("simpleton_image_decode_seconds_sum", &[], seconds);
        out.sample("simpleton_image_decode_seconds_count", &[], count as f64);
        for (name, help, total) in [
            ("simpleton_image_bytes_total", "Bytes of picture files that were decoded.", &self.bytes),
            ("simpleton_image_pixels_total", "Pixels that were decoded.", &self.pixels),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], total.load(Relaxed) as f64);
        }
        let name = "simpleton_images_refused_total";
        out.family(name, "counter", "Pictures that were not accepted, by reason.");
        for (reason, count) in RefusalReason::ALL.iter().zip(&self.refused) {
            out.sample(name, &[("reason", reason.as_str())], count.load(Relaxed) as f64);
        }
    }
}

//! Cache metrics by type of entry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::gauges::Gauges;
use crate::telemetry::text::Exposition;

const TYPES: [&str; 4] = ["embedding", "inference", "chat", "vision"];

#[derive(Default)]
pub struct CacheMetrics {
    hits: ByType,
    misses: ByType,
    collapsed: ByType,
    stores: ByType,
}

#[derive(Default)]
struct ByType([AtomicU64; TYPES.len()]);

impl ByType {
    fn add(&self, kind: &str) {
        if let Some(at) = TYPES.iter().position(|known| *known == kind) {
            self.0[at].fetch_add(1, Relaxed);
        }
    }

    fn counts(&self) -> [u64; TYPES.len()] {
        std::array::from_fn(|at| self.0[at].load(Relaxed))
    }
}

impl CacheMetrics {
    pub fn hit(&self, kind: &str) {
        self.hits.add(kind);
    }

    /// Not known: the backend is asked.
    pub fn missed(&self, kind: &str) {
        self.misses.add(kind);
    }

    /// Not known, but somebody else is already asking the backend.
    pub fn collapsed(&self, kind: &str) {
        self.collapsed.add(kind);
    }

    pub fn stored(&self, kind: &str) {
        self.stores.add(kind);
    }

    /// Hits and misses so far, each in the order embedding, inference, chat, vision.
    pub fn lookups(&self) -> ([u64; TYPES.len()], [u64; TYPES.len()]) {
        (self.hits.counts(), self.misses.counts())
    }

    pub(super) fn render(&self, out: &mut Exposition, gauges: &Gauges) {
        for (name, help, counts) in [
            ("simpleton_cache_hits_total", "Cache hits.", &self.hits),
            ("simpleton_cache_misses_total", "Cache misses.", &self.misses),
            (
                "simpleton_cache_collapsed_total",
                "Requests that shared the answer to an identical request in progress.",
                &self.collapsed,
            ),
            ("simpleton_cache_stores_total", "Entries stored in the cache.", &self.stores),
        ] {
            out.family(name, "counter", help);
            for (kind, count) in TYPES.iter().zip(counts.counts()) {
                out.sample(name, &[("cache_type", kind)], count as f64);
            }
        }
        out.family("simpleton_cache_entries", "gauge", "Entries in the cache.");
        for (kind, count) in TYPES.iter().zip(gauges.cache_entries) {
            out.sample("simpleton_cache_entries", &[("cache_type", kind)], count as f64);
        }
        for (name, kind, help, value) in [
            (
                "simpleton_cache_memory_bytes",
                "gauge",
                "Size of the cache entries in memory.",
                gauges.cache_memory_bytes,
            ),
            (
                "simpleton_cache_stored_bytes",
                "gauge",
                "Size of the cache entries on disk or in Redis.",
                gauges.cache_stored_bytes,
            ),
            (
                "simpleton_cache_evictions_total",
                "counter",
                "Cache entries evicted to make room.",
                gauges.cache_evictions,
            ),
            (
                "simpleton_cache_errors_total",
                "counter",
                "Failed calls to the cache's storage.",
                gauges.cache_errors,
            ),
            (
                "simpleton_cache_available",
                "gauge",
                "Whether the cache's storage is available.",
                u64::from(gauges.cache_available),
            ),
        ] {
            out.family(name, kind, help);
            out.sample(name, &[], value as f64);
        }
    }
}

//! Cache metrics by type of entry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::gauges::Gauges;
use crate::{
    telemetry::text::Exposition,
    types::{EntryType, PerType},
};

#[derive(Default)]
pub struct CacheMetrics {
    hits: PerType<AtomicU64>,
    misses: PerType<AtomicU64>,
    collapsed: PerType<AtomicU64>,
    stores: PerType<AtomicU64>,
}

fn counts(counters: &PerType<AtomicU64>) -> PerType<u64> {
    PerType::new(|entry_type| counters[entry_type].load(Relaxed))
}

impl CacheMetrics {
    pub fn hit(&self, entry_type: EntryType) {
        self.hits[entry_type].fetch_add(1, Relaxed);
    }

    /// Not known: the backend is asked.
    pub fn missed(&self, entry_type: EntryType) {
        self.misses[entry_type].fetch_add(1, Relaxed);
    }

    /// Not cached, but another request is already asking the backend.
    pub fn collapsed(&self, entry_type: EntryType) {
        self.collapsed[entry_type].fetch_add(1, Relaxed);
    }

    pub fn stored(&self, entry_type: EntryType) {
        self.stores[entry_type].fetch_add(1, Relaxed);
    }

    /// Hits and misses so far.
    pub fn lookups(&self) -> (PerType<u64>, PerType<u64>) {
        (counts(&self.hits), counts(&self.misses))
    }

    pub(super) fn render(&self, out: &mut Exposition, gauges: &Gauges) {
        for (name, help, counters) in [
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
            for (entry_type, count) in counters.iter() {
                out.sample(name, &[("cache_type", entry_type.as_str())], count.load(Relaxed) as f64);
            }
        }
        out.family("simpleton_cache_entries", "gauge", "Entries in the cache.");
        for (entry_type, count) in gauges.cache_entries.iter() {
            out.sample("simpleton_cache_entries", &[("cache_type", entry_type.as_str())], *count as f64);
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

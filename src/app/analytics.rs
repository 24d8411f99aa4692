//! Reports about the service, assembled for the edge.

use super::App;
use crate::{
    cache::CacheStats,
    engine::{Loaded, Snapshot},
    telemetry::metrics::{Gauges, ModelGauge},
    types::PerType,
};

pub struct CacheReport {
    pub enabled: bool,
    /// The name of the store.
    pub backend: &'static str,
    pub stats: CacheStats,
    /// Since the start.
    pub hits: PerType<u64>,
    pub misses: PerType<u64>,
}

impl App {
    pub async fn cache_report(&self) -> CacheReport {
        let (hits, misses) = self.monitoring.metrics.cache.lookups();
        CacheReport {
            enabled: self.cache.is_enabled(),
            backend: self.cache.store_name(),
            stats: self.cache.stats().await,
            hits,
            misses,
        }
    }

    /// Requests waiting for a slot of the embedded engine.
    pub fn waiting(&self) -> usize {
        self.engine().map_or(0, |engine| engine.waiting)
    }

    /// State of the embedded engine, if a backend has one.
    pub(super) fn engine(&self) -> Option<Snapshot> {
        self.catalog.backends().find_map(|backend| backend.engine())
    }

    /// Measures the gauges for one scrape.
    pub async fn gauges(&self) -> Gauges {
        let stats = self.cache.stats().await;
        let cache_available = stats.status == "available";
        let mut breakers = vec![("cache", self.cache.is_enabled() && !cache_available)];
        let engine = self.engine();
        if let Some(engine) = &engine {
            breakers.push(("engine", engine.backing_off > 0));
        }
        let engine = engine.unwrap_or_default();
        Gauges {
            cache_entries: stats.entries,
            cache_memory_bytes: stats.memory_bytes,
            cache_stored_bytes: stats.stored_bytes,
            cache_evictions: stats.evictions,
            cache_errors: stats.errors,
            cache_available,
            waiting: engine.waiting,
            models: engine.loaded.into_iter().map(model_gauge).collect(),
            breakers,
        }
    }
}

fn model_gauge(loaded: Loaded) -> ModelGauge {
    let Loaded { name, role, slots, slots_busy, memory_bytes, .. } = loaded;
    ModelGauge { name, role: role.as_str(), slots, slots_busy, memory_bytes }
}

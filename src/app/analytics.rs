//! Reports about the service, assembled for the edge.

use super::App;
use crate::{
    cache::{Holdings, Kind},
    engine::Loaded,
    telemetry::metrics::{Gauges, ModelGauge},
};

pub struct CacheReport {
    pub enabled: bool,
    /// The name of the store.
    pub backend: &'static str,
    pub holdings: Holdings,
    /// Since the start, in the order of `Kind::ALL`.
    pub hits: [u64; Kind::ALL.len()],
    pub misses: [u64; Kind::ALL.len()],
}

impl App {
    pub async fn cache_report(&self) -> CacheReport {
        let (hits, misses) = self.monitoring.metrics.cache.lookups();
        CacheReport {
            enabled: self.cache.is_enabled(),
            backend: self.cache.store_name(),
            holdings: self.cache.holdings().await,
            hits,
            misses,
        }
    }

    /// Requests in line for a slot of the embedded engine.
    pub fn waiting(&self) -> usize {
        self.backend.engine().map_or(0, |engine| engine.waiting)
    }

    /// Measures the gauges for one scrape.
    pub async fn gauges(&self) -> Gauges {
        let holdings = self.cache.holdings().await;
        let cache_available = holdings.status == "available";
        let mut breakers = vec![("cache", self.cache.is_enabled() && !cache_available)];
        let engine = self.backend.engine();
        if let Some(engine) = &engine {
            breakers.push(("engine", engine.backing_off > 0));
        }
        let engine = engine.unwrap_or_default();
        Gauges {
            cache_entries: holdings.entries,
            cache_memory_bytes: holdings.memory_bytes,
            cache_stored_bytes: holdings.stored_bytes,
            cache_evictions: holdings.evictions,
            cache_errors: holdings.errors,
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

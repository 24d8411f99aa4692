//! Reports about the service, assembled for the edge.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{App, alerts};
use crate::{
    cache::CacheStats,
    engine::{Loaded, Snapshot},
    error::Result,
    store::{Covered, Standing},
    telemetry::{
        Monitoring,
        aggregates::{Aggregates, FailureRecord, Latencies, Minute, Recent},
        labels::RouteLabel,
        metrics::{DocumentCounts, Gauges, ModelGauge, TextFormat},
        recorder::{RequestRecorder, RequestStart},
    },
    types::{Alert, EntryType, PerType},
    vectors::Stats,
};

/// Timeout for asking the document store.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

pub struct CacheReport {
    pub enabled: bool,
    /// The name of the store.
    pub backend: &'static str,
    pub stats: CacheStats,
    /// Since the start.
    pub hits: PerType<u64>,
    pub misses: PerType<u64>,
}

/// State of the document store.
pub struct DocumentsReport {
    /// Name of the store.
    pub backend: &'static str,
    /// Why it cannot be used now; none when it can.
    pub trouble: Option<String>,
    /// Failures since the start.
    pub errors: u64,
    pub stats: Option<Stats>,
}

pub struct MonitoringReport {
    pub enabled: bool,
    pub requests_in_progress: u64,
    /// File of statistics over time.
    pub storage: Standing,
}

pub struct LiveReport {
    pub at: SystemTime,
    pub recent: Recent,
    /// Of the last 60 seconds.
    pub latencies: Latencies,
    pub requests_in_progress: u64,
    /// Requests waiting for a slot of the embedded engine.
    pub requests_waiting: usize,
    pub alerts: Vec<Alert>,
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

    pub async fn documents_report(&self) -> DocumentsReport {
        let (trouble, stats) =
            tokio::join!(self.documents.trouble(STORE_TIMEOUT), self.documents.counts(STORE_TIMEOUT));
        DocumentsReport {
            backend: self.documents.store_name(),
            trouble,
            errors: self.monitoring.metrics.documents.store_errors(),
            stats,
        }
    }

    /// Why responses cannot be stored or read now, if they cannot.
    pub async fn responses_trouble(&self) -> Option<String> {
        self.responses.trouble(STORE_TIMEOUT).await
    }

    /// Name of the cache's store.
    pub fn cache_store(&self) -> &'static str {
        self.cache.store_name()
    }

    /// Removes the entries of one type, or all of them, and returns their number.
    ///
    /// # Errors
    /// Those of `Cache::clear`.
    pub async fn clear_cache(&self, entry_type: Option<EntryType>) -> Result<u64> {
        self.cache.clear(entry_type).await
    }

    /// Totals of the last minutes.
    pub async fn aggregates(&self, minutes: u64) -> Covered<Aggregates> {
        self.history.aggregates(minutes).await
    }

    /// Totals of the last minutes, for each step of minutes.
    pub async fn series(&self, minutes: u64, step: u64) -> Covered<Vec<(Minute, Aggregates)>> {
        self.history.series(minutes, step).await
    }

    /// Latest failed requests, the newest first.
    pub async fn failures(&self, limit: usize, unauthenticated: bool) -> Vec<FailureRecord> {
        self.history.failures(limit, unauthenticated).await
    }

    pub fn retention_hours(&self) -> u64 {
        self.history.retention_hours()
    }

    /// Alerts that are active now.
    pub fn firing_alerts(&self) -> Vec<Alert> {
        self.alerts.firing()
    }

    pub fn alert_settings(&self) -> &alerts::Settings {
        &self.alerts.settings
    }

    pub fn monitoring_report(&self) -> MonitoringReport {
        MonitoringReport {
            enabled: self.monitoring.enabled,
            requests_in_progress: self.monitoring.metrics.in_progress(),
            storage: self.history.standing(),
        }
    }

    /// State of the service now, with totals of the last seconds.
    pub fn live_report(&self, seconds: u64) -> LiveReport {
        let Monitoring { aggregator, metrics, .. } = &self.monitoring;
        LiveReport {
            at: aggregator.now(),
            recent: aggregator.last_seconds(seconds),
            latencies: aggregator.latencies(),
            requests_in_progress: metrics.in_progress(),
            requests_waiting: self.engine().map_or(0, |engine| engine.waiting),
            alerts: self.alerts.firing(),
        }
    }

    /// Renders all metrics.
    pub async fn render_metrics(&self, format: TextFormat) -> String {
        self.monitoring.metrics.render(format, &self.gauges().await)
    }

    /// Sampling rate (0 to 1) for requests without a `traceparent`; none when nothing is traced.
    pub fn traced(&self) -> Option<f64> {
        self.monitoring.traced
    }

    /// Label of a route by its template; one that is no route has a label of its own.
    pub fn route_label(&self, template: Option<&str>) -> RouteLabel {
        self.monitoring.metrics.route(template)
    }

    /// Begins the record of a request.
    pub fn record(&self, start: RequestStart) -> Arc<RequestRecorder> {
        RequestRecorder::begin(self.monitoring.sinks.clone(), start)
    }

    /// State of the embedded engine, if a backend has one.
    pub(super) fn engine(&self) -> Option<Snapshot> {
        self.catalog.backends().find_map(|backend| backend.engine())
    }

    /// Measures the gauges for one scrape.
    async fn gauges(&self) -> Gauges {
        let (stats, documents) = tokio::join!(self.cache.stats(), self.documents.counts(STORE_TIMEOUT));
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
            documents: documents.map(|Stats { collections: _, documents, chunks, bytes }| DocumentCounts {
                documents,
                chunks,
                bytes,
            }),
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

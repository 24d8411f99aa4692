//! `/analytics/health`: whether what is told under `/analytics` is whole.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::{app::MonitoringReport, http::HttpState};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnalyticsHealthReply {
    /// `healthy`, or `degraded` if statistics may be lost on restart.
    status: &'static str,
    components: AnalyticsComponents,
}

#[derive(Serialize, ToSchema)]
struct AnalyticsComponents {
    monitoring: MonitoringBody,
    cache: CacheComponent,
    storage: StorageBody,
}

#[derive(Serialize, ToSchema)]
struct MonitoringBody {
    /// `enabled`, or `disabled` if `MONITORING_ENABLED` is false.
    status: &'static str,
    requests_in_progress: u64,
}

#[derive(Serialize, ToSchema)]
struct CacheComponent {
    /// `available`, or a description of the problem.
    status: String,
    /// `embedded`, `redis` or `off`.
    backend: &'static str,
}

#[derive(Serialize, ToSchema)]
struct StorageBody {
    /// `available` or `degraded`.
    status: &'static str,
    /// Reason for the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Number of failed reads and writes since the server started.
    errors: u64,
    /// On disk.
    bytes: u64,
    /// Time of the last write (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<String>,
    retention_hours: u64,
}

/// Get the health of monitoring
#[utoipa::path(get, path = "/analytics/health", tag = "Analytics",
    responses((status = 200, body = AnalyticsHealthReply)))]
pub(in crate::http) async fn health(State(state): State<Arc<HttpState>>) -> Json<AnalyticsHealthReply> {
    let MonitoringReport { enabled, requests_in_progress, storage } = state.app.monitoring_report();
    let cache = state.app.cache_report().await;
    let whole = storage.trouble.is_none() && (cache.stats.status == "available" || !cache.enabled);
    Json(AnalyticsHealthReply {
        status: if whole { "healthy" } else { "degraded" },
        components: AnalyticsComponents {
            monitoring: MonitoringBody {
                status: if enabled { "enabled" } else { "disabled" },
                requests_in_progress,
            },
            cache: CacheComponent { status: cache.stats.status, backend: cache.backend },
            storage: StorageBody {
                status: if storage.trouble.is_none() { "available" } else { "degraded" },
                detail: storage.trouble,
                errors: storage.errors,
                bytes: storage.bytes,
                written_at: storage.written_at.map(rfc3339),
                retention_hours: state.app.retention_hours(),
            },
        },
    })
}

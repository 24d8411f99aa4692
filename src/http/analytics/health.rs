//! `/analytics/health`: whether the statistics are complete.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::{
    app::{DocumentsReport, MonitoringReport},
    http::{
        HttpState,
        closed_set::{document_stores, stores},
    },
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnalyticsHealthReply {
    status: AnalyticsStatus,
    components: AnalyticsComponents,
}

/// `degraded` if statistics may be lost on restart, or the cache, the document store or the file with stored responses
/// has a problem.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AnalyticsStatus {
    Healthy,
    Degraded,
}

#[derive(Serialize, ToSchema)]
struct AnalyticsComponents {
    monitoring: MonitoringBody,
    cache: CacheComponent,
    storage: StorageBody,
    documents: DocumentStoreComponent,
    responses: ResponsesComponent,
}

/// The document store.
#[derive(Serialize, ToSchema)]
struct DocumentStoreComponent {
    status: StorageStatus,
    #[schema(schema_with = document_stores)]
    backend: &'static str,
    /// Reason for the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Number of failed reads and writes since the server started.
    errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u64>,
    /// Size on disk; with Qdrant, size of the vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl From<DocumentsReport> for DocumentStoreComponent {
    fn from(DocumentsReport { backend, trouble, errors, stats }: DocumentsReport) -> Self {
        Self {
            status: StorageStatus::of(trouble.as_ref()),
            backend,
            detail: trouble,
            errors,
            documents: stats.map(|stats| stats.documents),
            chunks: stats.map(|stats| stats.chunks),
            bytes: stats.map(|stats| stats.bytes),
        }
    }
}

/// The file with stored responses.
#[derive(Serialize, ToSchema)]
struct ResponsesComponent {
    status: StorageStatus,
    /// Reason for the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct MonitoringBody {
    status: MonitoringStatus,
    requests_in_progress: u64,
}

/// `disabled` if `MONITORING_ENABLED` is false.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MonitoringStatus {
    Enabled,
    Disabled,
}

#[derive(Serialize, ToSchema)]
struct CacheComponent {
    /// `available`, or a description of the problem.
    status: String,
    #[schema(schema_with = stores)]
    backend: &'static str,
}

#[derive(Serialize, ToSchema)]
struct StorageBody {
    status: StorageStatus,
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

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StorageStatus {
    Available,
    Degraded,
}

impl StorageStatus {
    fn of(trouble: Option<&String>) -> Self {
        if trouble.is_none() { Self::Available } else { Self::Degraded }
    }
}

/// Get the health of monitoring
#[utoipa::path(get, path = "/analytics/health", tag = "Analytics",
    responses((status = 200, body = AnalyticsHealthReply)))]
pub(in crate::http) async fn health(State(state): State<Arc<HttpState>>) -> Json<AnalyticsHealthReply> {
    let MonitoringReport { enabled, requests_in_progress, storage } = state.app.monitoring_report();
    let app = &state.app;
    let (cache, documents, responses) =
        tokio::join!(app.cache_report(), app.documents_report(), app.responses_trouble());
    let are_stored = storage.trouble.is_none() && documents.trouble.is_none() && responses.is_none();
    let whole = are_stored && (cache.stats.status == "available" || !cache.enabled);
    Json(AnalyticsHealthReply {
        status: if whole { AnalyticsStatus::Healthy } else { AnalyticsStatus::Degraded },
        components: AnalyticsComponents {
            monitoring: MonitoringBody {
                status: if enabled { MonitoringStatus::Enabled } else { MonitoringStatus::Disabled },
                requests_in_progress,
            },
            cache: CacheComponent { status: cache.stats.status, backend: cache.backend },
            storage: StorageBody {
                status: StorageStatus::of(storage.trouble.as_ref()),
                detail: storage.trouble,
                errors: storage.errors,
                bytes: storage.bytes,
                written_at: storage.written_at.map(rfc3339),
                retention_hours: state.app.retention_hours(),
            },
            documents: documents.into(),
            responses: ResponsesComponent {
                status: StorageStatus::of(responses.as_ref()),
                detail: responses,
            },
        },
    })
}

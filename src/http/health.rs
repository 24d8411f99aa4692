//! Health of the service: `/health` for people, `/health/live` and `/health/ready` for orchestrators and load
//! balancers.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    HttpState,
    closed_set::{backends, document_stores},
};
use crate::app::health::{Health, Part, Status};

#[derive(Serialize, ToSchema)]
pub(super) struct HealthReply {
    /// Status of the worst component.
    status: Status,
    ollama_status: OllamaStatus,
    version: &'static str,
    components: ComponentsReply,
}

/// `not configured` if the embedded engine is used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OllamaStatus {
    Connected,
    Disconnected,
    #[serde(rename = "not configured")]
    NotConfigured,
}

#[derive(Serialize, ToSchema)]
struct ComponentsReply {
    backend: BackendReply,
    /// Whether a model for prompts is installed.
    models: PartReply,
    cache: PartReply,
    /// The file with statistics.
    storage: PartReply,
    documents: DocumentStoreReply,
    /// The file with stored responses.
    responses: PartReply,
    /// Whether Tesseract works, if `OCR_ENGINE` uses it.
    ocr: PartReply,
}

#[derive(Serialize, ToSchema)]
struct BackendReply {
    #[schema(schema_with = backends)]
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(flatten)]
    #[schema(inline)]
    part: PartReply,
}

/// The document store.
#[derive(Serialize, ToSchema)]
struct DocumentStoreReply {
    #[schema(schema_with = document_stores)]
    name: &'static str,
    #[serde(flatten)]
    #[schema(inline)]
    part: PartReply,
}

#[derive(Serialize, ToSchema)]
struct PartReply {
    status: Status,
    /// Problem and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LiveReply {
    status: Alive,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Alive {
    Alive,
}

/// Get the service's health
///
/// Responds within about a second, and always with status 200, whatever the state of the components.
#[utoipa::path(get, path = "/health", tag = "Service", responses((status = 200, body = HealthReply)))]
pub(super) async fn health(State(state): State<Arc<HttpState>>) -> Json<HealthReply> {
    Json(state.app.health().await.into())
}

/// Check liveness
///
/// For liveness probes: returns 200 while the process is serving, and depends on nothing else.
#[utoipa::path(get, path = "/health/live", tag = "Service", responses((status = 200, body = LiveReply)))]
pub(super) async fn live() -> Json<LiveReply> {
    Json(LiveReply { status: Alive::Alive })
}

/// Check readiness
///
/// For readiness probes and load balancers: returns 200 if prompts can be answered.
#[utoipa::path(get, path = "/health/ready", tag = "Service", responses(
    (status = 200, body = HealthReply),
    (status = 503, body = HealthReply, description = "Prompts cannot be answered; `components` has the reason")))]
pub(super) async fn ready(State(state): State<Arc<HttpState>>) -> Readiness {
    Readiness(state.app.health().await)
}

/// Not an error: the check itself has succeeded.
pub(super) struct Readiness(Health);

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let status = match self.0.status() {
            Status::Healthy | Status::Degraded => StatusCode::OK,
            Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(HealthReply::from(self.0))).into_response()
    }
}

impl From<Health> for HealthReply {
    fn from(health: Health) -> Self {
        let status = health.status();
        let [backend, models, cache, storage, documents, responses, ocr] = health.parts.map(|(_, part)| part);
        let ollama_status = match (health.backend, backend.status) {
            ("ollama", Status::Healthy) => OllamaStatus::Connected,
            ("ollama", _) => OllamaStatus::Disconnected,
            _ => OllamaStatus::NotConfigured,
        };
        let backend =
            BackendReply { name: health.backend, version: health.version, part: PartReply::from(backend) };
        let (models, cache, storage) = (models.into(), cache.into(), storage.into());
        let (responses, ocr) = (responses.into(), ocr.into());
        let documents = DocumentStoreReply { name: health.document_store, part: documents.into() };
        let components = ComponentsReply { backend, models, cache, storage, documents, responses, ocr };
        Self { status, ollama_status, version: env!("CARGO_PKG_VERSION"), components }
    }
}

impl From<Part> for PartReply {
    fn from(Part { status, detail }: Part) -> Self {
        Self { status, detail }
    }
}

//! Whether the service can do its work: `/health` for people, `/health/live` and `/health/ready` for
//! what starts it and sends it requests.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use crate::app::health::{Health, Part, Status};

#[derive(Serialize, ToSchema)]
pub(super) struct HealthReply {
    /// Status of the worst component: `healthy`, `degraded` (prompts are answered, but something is wrong)
    /// or `unhealthy` (prompts cannot be answered).
    status: &'static str,
    /// `connected`, `disconnected`, or `not configured` if the embedded engine is used.
    ollama_status: &'static str,
    version: &'static str,
    components: ComponentsReply,
}

#[derive(Serialize, ToSchema)]
struct ComponentsReply {
    backend: BackendReply,
    /// Whether a model for prompts is installed.
    models: PartReply,
    cache: PartReply,
    /// The file with statistics.
    storage: PartReply,
}

#[derive(Serialize, ToSchema)]
struct BackendReply {
    /// `embedded` or `ollama`.
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(flatten)]
    #[schema(inline)]
    part: PartReply,
}

#[derive(Serialize, ToSchema)]
struct PartReply {
    /// `healthy`, `degraded` or `unhealthy`.
    status: &'static str,
    /// Problem and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LiveReply {
    /// `alive`.
    status: &'static str,
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
    Json(LiveReply { status: "alive" })
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

/// Not an error: it is what was asked, and no failure of the request.
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
        let status = health.status().as_str();
        let [(_, backend), (_, models), (_, cache), (_, storage)] = health.parts;
        let ollama_status = match (health.backend, backend.status) {
            ("ollama", Status::Healthy) => "connected",
            ("ollama", _) => "disconnected",
            _ => "not configured",
        };
        let backend =
            BackendReply { name: health.backend, version: health.version, part: PartReply::from(backend) };
        let (models, cache, storage) = (models.into(), cache.into(), storage.into());
        let components = ComponentsReply { backend, models, cache, storage };
        Self { status, ollama_status, version: env!("CARGO_PKG_VERSION"), components }
    }
}

impl From<Part> for PartReply {
    fn from(Part { status, detail }: Part) -> Self {
        Self { status: status.as_str(), detail }
    }
}

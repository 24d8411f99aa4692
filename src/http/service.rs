//! The service about itself: `/`, `/health`, `/models`, `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Edge, error::Result};
use crate::{app::health::Health, telemetry::metrics::TextFormat, types::Model};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize, ToSchema)]
pub(super) struct RootReply {
    service: &'static str,
    version: &'static str,
    description: &'static str,
    docs: &'static str,
    health: &'static str,
}

/// What this is and where to go on
#[utoipa::path(get, path = "/", tag = "Service", responses((status = 200, body = RootReply)))]
pub(super) async fn root() -> Json<RootReply> {
    Json(RootReply {
        service: "Simpleton LLM Service",
        version: VERSION,
        description: env!("CARGO_PKG_DESCRIPTION"),
        docs: "/docs",
        health: "/health",
    })
}

#[derive(Serialize, ToSchema)]
pub(super) struct HealthReply {
    /// `healthy`, or `degraded` when the backend cannot be used.
    status: &'static str,
    /// `connected`, `disconnected`, or `not configured` when the embedded engine is used.
    ollama_status: &'static str,
    version: &'static str,
    components: ComponentsReply,
}

#[derive(Serialize, ToSchema)]
struct ComponentsReply {
    backend: BackendReply,
}

#[derive(Serialize, ToSchema)]
struct BackendReply {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// What to do about it, when it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Whether the service can do its work; answers within about a second
#[utoipa::path(get, path = "/health", tag = "Service", responses((status = 200, body = HealthReply)))]
pub(super) async fn health(State(edge): State<Arc<Edge>>) -> Json<HealthReply> {
    Json(edge.app.health().await.into())
}

impl From<Health> for HealthReply {
    fn from(Health { backend, state }: Health) -> Self {
        let usable = state.is_ok();
        let status = if usable { "healthy" } else { "degraded" };
        let ollama_status = match (backend, usable) {
            ("ollama", true) => "connected",
            ("ollama", false) => "disconnected",
            _ => "not configured",
        };
        let (version, detail) = match state {
            Ok(version) => (Some(version), None),
            Err(detail) => (None, Some(detail)),
        };
        let backend = BackendReply { name: backend, status, version, detail };
        Self { status, ollama_status, version: VERSION, components: ComponentsReply { backend } }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelsReply {
    models: Vec<ModelReply>,
}

#[derive(Serialize, ToSchema)]
struct ModelReply {
    name: String,
    /// Bytes.
    size: u64,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    digest: String,
    /// Of `completion`, `embedding`, `vision`, `tools`.
    capabilities: Vec<&'static str>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    details: DetailsReply,
    /// The backend that serves it.
    source: &'static str,
    /// Whether it is in memory now.
    loaded: bool,
}

#[derive(Serialize, ToSchema)]
struct DetailsReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization_level: Option<String>,
}

/// The models that can be used now
#[utoipa::path(get, path = "/models", tag = "Service",
    responses((status = 200, body = ModelsReply)))]
pub(super) async fn models(State(edge): State<Arc<Edge>>) -> Result<Json<ModelsReply>> {
    let models = edge.app.models.list().await?;
    Ok(Json(ModelsReply { models: models.iter().map(ModelReply::from).collect() }))
}

impl From<&Model> for ModelReply {
    fn from(model: &Model) -> Self {
        Self {
            name: model.name.clone(),
            size: model.size,
            modified_at: model.modified_at.map(|at| at.to_string()),
            digest: model.digest.clone(),
            capabilities: model.capabilities.iter().map(|capability| capability.as_str()).collect(),
            context_length: model.context_length,
            details: DetailsReply {
                family: model.family.clone(),
                parameter_size: model.parameter_size.clone(),
                quantization_level: model.quantization.clone(),
            },
            source: model.source,
            loaded: model.loaded,
        }
    }
}

/// Prometheus metrics, as OpenMetrics when `Accept` asks for it
#[utoipa::path(get, path = "/metrics", tag = "Service", 
    responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text")))))]
pub(super) async fn metrics(State(edge): State<Arc<Edge>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = if accept.contains("application/openmetrics-text") {
        TextFormat::OpenMetrics
    } else {
        TextFormat::Prometheus
    };
    (
        [(header::CONTENT_TYPE, format.content_type())],
        edge.app.monitoring.render(format, &edge.app.gauges().await),
    )
        .into_response()
}

//! `/api/tags` and `/api/ps`: the models that are installed, and those in memory.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::names::tagged;
use crate::{
    http::{HttpState, middleware::errors::Result},
    types::{Capability, LoadedModel, Model},
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaModels {
    models: Vec<OllamaModel>,
}

#[derive(Serialize, ToSchema)]
struct OllamaModel {
    /// Name with its tag.
    name: String,
    /// The same.
    model: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    /// Bytes.
    size: u64,
    digest: String,
    details: OllamaModelDetails,
    capabilities: Vec<Capability>,
}

#[derive(Default, Serialize, ToSchema)]
pub(super) struct OllamaModelDetails {
    /// Always empty.
    parent_model: &'static str,
    /// Always `gguf`.
    format: &'static str,
    family: String,
    families: Vec<String>,
    parameter_size: String,
    quantization_level: String,
}

impl From<&Model> for OllamaModelDetails {
    fn from(model: &Model) -> Self {
        Self {
            parent_model: "",
            format: "gguf",
            family: model.family.clone().unwrap_or_default(),
            families: model.family.iter().cloned().collect(),
            parameter_size: model.parameter_size.clone().unwrap_or_default(),
            quantization_level: model.quantization.clone().unwrap_or_default(),
        }
    }
}

/// List models (Ollama)
#[utoipa::path(get, path = "/api/tags", tag = "Ollama", responses((status = 200, body = OllamaModels)))]
pub(in crate::http) async fn tags(State(state): State<Arc<HttpState>>) -> Result<Json<OllamaModels>> {
    let models = state.app.models().await?;
    Ok(Json(OllamaModels { models: models.iter().map(OllamaModel::from).collect() }))
}

impl From<&Model> for OllamaModel {
    fn from(model: &Model) -> Self {
        let name = tagged(&model.name);
        Self {
            model: name.clone(),
            name,
            modified_at: model.modified_at.map(|at| at.to_string()),
            size: model.size,
            digest: model.digest.clone(),
            details: model.into(),
            capabilities: model.capabilities.clone(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaRunningModels {
    models: Vec<OllamaRunningModel>,
}

#[derive(Serialize, ToSchema)]
struct OllamaRunningModel {
    /// Name with its tag.
    name: String,
    /// The same.
    model: String,
    /// Bytes of memory, an estimate.
    size: u64,
    /// Bytes of it that are GPU memory; 0 if none are, or if the backend does not say.
    size_vram: u64,
    digest: String,
    details: OllamaModelDetails,
    /// RFC 3339; a century ahead while the model is in use, or if it stays loaded.
    expires_at: String,
    /// Context size in tokens, for prompt and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
}

/// List the models in memory (Ollama)
#[utoipa::path(get, path = "/api/ps", tag = "Ollama", responses((status = 200, body = OllamaRunningModels)))]
pub(in crate::http) async fn ps(State(state): State<Arc<HttpState>>) -> Result<Json<OllamaRunningModels>> {
    let (loaded, listed) = (state.app.loaded_models().await?, state.app.models().await?);
    let running = loaded.into_iter().map(|loaded| {
        let listed = listed.iter().find(|listed| listed.name.eq_ignore_ascii_case(&loaded.name));
        OllamaRunningModel::new(loaded, listed)
    });
    Ok(Json(OllamaRunningModels { models: running.collect() }))
}

fn in_a_century() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(100 * 365 * 24)
}

impl OllamaRunningModel {
    fn new(loaded: LoadedModel, listed: Option<&Model>) -> Self {
        let name = tagged(&loaded.name);
        Self {
            model: name.clone(),
            name,
            size: loaded.memory,
            size_vram: loaded.gpu_memory.unwrap_or(0),
            digest: listed.map(|listed| listed.digest.clone()).unwrap_or_default(),
            details: listed.map(OllamaModelDetails::from).unwrap_or_default(),
            // Clients take a model without it for one that is not loaded.
            expires_at: loaded.expires_at.unwrap_or_else(in_a_century).to_string(),
            context_length: loaded.context,
        }
    }
}

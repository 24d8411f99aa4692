//! `/models/suggested`: well-known models to pull, and whether they fit this machine.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::suggestions::{SuggestedModel, SuggestedModels, Suggestion},
    engine::MemoryBudget,
    http::{HttpState, middleware::errors::Result},
    types::Capability,
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SuggestedReply {
    /// Null over Ollama, which does not say what its models may use.
    memory: Option<BudgetReply>,
    /// By what they are for (text, images, embeddings), the smallest first.
    models: Vec<SuggestedModelReply>,
}

/// Bytes.
#[derive(Serialize, ToSchema)]
struct BudgetReply {
    /// Memory of the machine, or of the container where that is less; null if the system does not say.
    total: Option<u64>,
    /// Memory that all loaded models together may use (`ENGINE_MEMORY_MB`).
    for_models: u64,
}

#[derive(Serialize, ToSchema)]
struct SuggestedModelReply {
    name: &'static str,
    description: &'static str,
    capabilities: &'static [Capability],
    /// Bytes to download, approximately.
    size: u64,
    /// Bytes that the model takes when it is loaded, an estimate; null over Ollama.
    memory: Option<u64>,
    /// Whether the memory for models has room for it; null over Ollama.
    fits: Option<bool>,
    installed: bool,
}

/// Suggest models to pull
#[utoipa::path(get, path = "/models/suggested", tag = "Models", responses((status = 200, body = SuggestedReply)))]
pub(in crate::http) async fn suggested(State(state): State<Arc<HttpState>>) -> Result<Json<SuggestedReply>> {
    let SuggestedModels { memory, models } = state.app.suggested_models().await?;
    let memory = memory.map(|MemoryBudget { total, for_models, .. }| BudgetReply { total, for_models });
    Ok(Json(SuggestedReply { memory, models: models.into_iter().map(SuggestedModelReply::from).collect() }))
}

impl From<SuggestedModel> for SuggestedModelReply {
    fn from(model: SuggestedModel) -> Self {
        let SuggestedModel { suggestion, memory, fits, installed } = model;
        let Suggestion { name, description, capabilities, size, .. } = *suggestion;
        let memory = memory.map(|memory| memory.total());
        Self { name, description, capabilities, size, memory, fits, installed }
    }
}

//! `/v1/models`.

use std::sync::Arc;

use axum::{Json as JsonReply, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::{Error, Kind},
    http::{
        HttpState,
        middleware::errors::Result,
        native::models::{NameParam, Named},
    },
    types::Model,
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OpenAiModels {
    object: ListObject,
    data: Vec<OpenAiModel>,
}

/// Always `list`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListObject {
    List,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OpenAiModel {
    id: String,
    object: ModelObject,
    /// Unix time in seconds when the model was installed; 0 if that is not known.
    created: i64,
    /// Backend that serves it.
    owned_by: &'static str,
}

/// Always `model`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModelObject {
    Model,
}

impl From<&Model> for OpenAiModel {
    fn from(model: &Model) -> Self {
        Self {
            id: model.name.clone(),
            object: ModelObject::Model,
            created: model.modified_at.map_or(0, |time| time.as_second()),
            owned_by: model.source,
        }
    }
}

/// List models (OpenAI)
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses((status = 200, body = OpenAiModels)))]
pub(in crate::http) async fn list(State(state): State<Arc<HttpState>>) -> Result<JsonReply<OpenAiModels>> {
    let data = state.app.models().await?.iter().map(OpenAiModel::from).collect();
    Ok(JsonReply(OpenAiModels { object: ListObject::List, data }))
}

/// Get a model (OpenAI)
#[utoipa::path(get, path = "/v1/models/{name}", tag = "OpenAI", params(NameParam),
    responses((status = 200, body = OpenAiModel)))]
pub(in crate::http) async fn details(
    State(state): State<Arc<HttpState>>,
    Named(name): Named,
) -> Result<JsonReply<OpenAiModel>> {
    let unknown = || Error::new(Kind::NotFound, format!("The model {name:?} does not exist."));
    let models = state.app.models().await?;
    let found = models.iter().find(|model| model.name.eq_ignore_ascii_case(&name));
    Ok(JsonReply(found.ok_or_else(unknown)?.into()))
}

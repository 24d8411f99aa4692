//! `/v1/models` for OpenAI's clients.

use serde::Serialize;
use utoipa::ToSchema;

use crate::types::Model;

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

impl From<&[Model]> for OpenAiModels {
    fn from(models: &[Model]) -> Self {
        Self { object: ListObject::List, data: models.iter().map(OpenAiModel::from).collect() }
    }
}

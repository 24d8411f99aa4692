//! `/v1/models`, which OpenAI's and Anthropic's APIs share: the header `anthropic-version` decides whose it is.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    HttpState,
    anthropic::{
        self,
        betas::{BetaParam, Betas},
        models::{AnthropicModel, AnthropicModels, Paging},
    },
    extract::Query,
    middleware::errors::Result,
    native::models::{NameParam, Named},
    openai::models::{OpenAiModel, OpenAiModels},
};
use crate::error::{Error, Kind};

/// A list in the format of the client's API.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ModelList {
    OpenAi(OpenAiModels),
    Anthropic(AnthropicModels),
}

/// A model in the format of the client's API.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum OneModel {
    OpenAi(OpenAiModel),
    Anthropic(AnthropicModel),
}

/// List models (OpenAI, Anthropic)
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", params(Paging, BetaParam),
    responses((status = 200, body = ModelList)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    betas: Betas,
    Query(paging): Query<Paging>,
) -> Result<Response> {
    let models = state.app.models().await?;
    let list = if headers.contains_key(anthropic::VERSION) {
        ModelList::Anthropic(AnthropicModels::page(&models, paging)?)
    } else {
        paging.refuse()?;
        ModelList::OpenAi((&*models).into())
    };
    Ok(betas.ignored().mark(Json(list).into_response()))
}

/// Get a model (OpenAI, Anthropic)
#[utoipa::path(get, path = "/v1/models/{name}", tag = "OpenAI", params(NameParam, BetaParam),
    responses((status = 200, body = OneModel)))]
pub(super) async fn details(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    betas: Betas,
    Named(name): Named,
) -> Result<Response> {
    let unknown = || Error::new(Kind::NotFound, format!("The model {name:?} does not exist."));
    let models = state.app.models().await?;
    let found = models.iter().find(|model| model.name.eq_ignore_ascii_case(&name)).ok_or_else(unknown)?;
    let model = match headers.contains_key(anthropic::VERSION) {
        true => OneModel::Anthropic(found.into()),
        false => OneModel::OpenAi(found.into()),
    };
    Ok(betas.ignored().mark(Json(model).into_response()))
}

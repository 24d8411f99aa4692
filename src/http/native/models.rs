//! `/models`: what is installed, and what is in memory.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{inference::keep_alive, schemas};
use crate::{
    error::{Error, Kind},
    http::{
        HttpState,
        closed_set::backends,
        extract::{Json as Body, fields::Fields},
        middleware::{
            auth::Caller,
            errors::{Failure, Result},
        },
    },
    types::{
        Capability, FinishReason, KeepAlive, LoadOptions, LoadedModel, MemoryEstimate, Model, ModelDetails,
        ModelName,
    },
    wire::ollama::nanos,
};

/// Smallest context of a model, in tokens.
const MIN_CONTEXT: u32 = 256;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "documentation of `Named`")]
pub(in crate::http) struct NameParam {
    /// Name of the model, such as `qwen2.5:7b`, with each `/` written as `%2F`.
    #[param(example = "simpleton-demo")]
    name: String,
}

/// Name of a model in the path, in its shortest form.
pub(in crate::http) struct Named(pub(in crate::http) String);

impl FromRequestParts<Arc<HttpState>> for Named {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<HttpState>,
    ) -> std::result::Result<Self, Failure> {
        let unknown = |detail: String| Error::new(Kind::NotFound, format!("The name of the model {detail}."));
        let name = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = name.map_err(|_| unknown("must be UTF-8".to_owned()))?;
        let name: ModelName = name.parse().map_err(unknown)?;
        Ok(Self(name.to_string()))
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelsReply {
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
    capabilities: Vec<Capability>,
    /// Context size that the model was trained for, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    context: ContextReply,
    details: DetailsReply,
    #[schema(schema_with = backends)]
    source: &'static str,
    /// Whether the model is in memory now.
    loaded: bool,
}

/// Context size in tokens, for prompt and answer together.
#[derive(Serialize, ToSchema)]
struct ContextReply {
    /// Context size in use (`ENGINE_CONTEXT`), if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<u64>,
    /// Context size that the model was trained for, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<u64>,
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

/// List models
#[utoipa::path(get, path = "/models", tag = "Models",
    responses((status = 200, body = ModelsReply)))]
pub(in crate::http) async fn models(State(state): State<Arc<HttpState>>) -> Result<Json<ModelsReply>> {
    let models = state.app.models().await?;
    Ok(Json(ModelsReply::from(&*models)))
}

impl From<&[Model]> for ModelsReply {
    fn from(models: &[Model]) -> Self {
        Self { models: models.iter().map(ModelReply::from).collect() }
    }
}

impl From<&Model> for ModelReply {
    fn from(model: &Model) -> Self {
        Self {
            name: model.name.clone(),
            size: model.size,
            modified_at: model.modified_at.map(|at| at.to_string()),
            digest: model.digest.clone(),
            capabilities: model.capabilities.clone(),
            context_length: model.context.trained,
            context: ContextReply { chosen: model.context.chosen, trained: model.context.trained },
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

#[derive(Serialize, ToSchema)]
pub(crate) struct DetailedModelReply {
    #[serde(flatten)]
    model: ModelReply,
    /// Default parameters by Ollama's names.
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    /// Chat template of the model's manifest, in the language of Go's templates. The embedded engine uses the one in
    /// the model's GGUF file instead or, if that has none, its own template for the same kind of model.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// System prompt for requests without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    /// Memory that the model takes when it is loaded, an estimate; absent if the backend does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryReply>,
}

/// Bytes.
#[derive(Serialize, ToSchema)]
struct MemoryReply {
    weights: u64,
    kv_cache: u64,
    /// Compute buffers, and the engine itself.
    compute: u64,
    total: u64,
}

impl From<MemoryEstimate> for MemoryReply {
    fn from(memory: MemoryEstimate) -> Self {
        let MemoryEstimate { weights, kv_cache, compute } = memory;
        Self { weights, kv_cache, compute, total: memory.total() }
    }
}

/// Get a model
#[utoipa::path(get, path = "/models/{name}", tag = "Models",
    params(NameParam),
    responses((status = 200, body = DetailedModelReply)))]
pub(in crate::http) async fn details(
    State(state): State<Arc<HttpState>>,
    Named(name): Named,
) -> Result<Json<DetailedModelReply>> {
    Ok(Json(state.app.model_details(&name).await?.into()))
}

impl From<ModelDetails> for DetailedModelReply {
    fn from(details: ModelDetails) -> Self {
        let ModelDetails { model, parameters, template, system, license, info: _, memory } = details;
        let (model, memory) = (ModelReply::from(&model), memory.map(MemoryReply::from));
        Self { model, parameters, template, system, license, memory }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RemovedReply {
    /// Name of the model.
    deleted: String,
}

/// Delete a model, and its files that no other model uses
#[utoipa::path(delete, path = "/models/{name}", tag = "Models",
    params(NameParam),
    responses((status = 200, body = RemovedReply)))]
pub(in crate::http) async fn remove(
    State(state): State<Arc<HttpState>>,
    Named(name): Named,
) -> Result<Json<RemovedReply>> {
    let deleted = state.app.remove_model(&name).await?;
    Ok(Json(RemovedReply { deleted }))
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LoadedReply {
    models: Vec<LoadedModelReply>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LoadedModelReply {
    name: String,
    /// Bytes, an estimate.
    memory: u64,
    /// Number of requests that the model answers in parallel.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
    /// Number of requests that it is answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots_busy: Option<usize>,
    /// Context size in tokens, for prompt and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<u64>,
    /// RFC 3339; absent while the model is in use, or if it stays loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl From<LoadedModel> for LoadedModelReply {
    fn from(loaded: LoadedModel) -> Self {
        let LoadedModel { name, memory, gpu_memory: _, slots, slots_busy, context, expires_at } = loaded;
        let expires_at = expires_at.map(|at| at.to_string());
        Self { name, memory, slots, slots_busy, context, expires_at }
    }
}

/// List the models in memory
#[utoipa::path(get, path = "/models/loaded", tag = "Models", responses((status = 200, body = LoadedReply)))]
pub(in crate::http) async fn loaded(State(state): State<Arc<HttpState>>) -> Result<Json<LoadedReply>> {
    let models = state.app.loaded_models().await?;
    Ok(Json(LoadedReply { models: models.into_iter().map(LoadedModelReply::from).collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LoadBody {
    /// Context size in tokens, for prompt and answer together. A loaded model with another one is loaded anew.
    #[schema(minimum = 256, maximum = 2147483647)]
    context: Option<i64>,
    /// Time to keep the model loaded when it is idle: seconds, a duration (`5m`), or -1 to keep it forever.
    #[serde(default, deserialize_with = "keep_alive")]
    #[schema(schema_with = schemas::keep_alive)]
    keep_alive: Option<KeepAlive>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LoadReply {
    /// Name of the model.
    model: String,
    loaded: bool,
    /// Nanoseconds that loading took; 0 if the model was loaded.
    load_duration: u64,
}

/// Load a model
#[utoipa::path(post, path = "/models/{name}/load", tag = "Models", params(NameParam),
    request_body(content = Option<LoadBody>, example = json!({"keep_alive": "10m"})),
    responses((status = 200, body = LoadReply)))]
pub(in crate::http) async fn load(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(name): Named,
    body: Option<Body<LoadBody>>,
) -> Result<Json<LoadReply>> {
    let mut options = LoadOptions::default();
    if let Some(Body(body, _)) = body {
        let mut fields = Fields::default();
        let context = fields.positive("/context", body.context);
        if context.is_some_and(|tokens| tokens < MIN_CONTEXT) {
            fields.refuse("/context", format!("must be at least {MIN_CONTEXT}"));
        }
        fields.finish()?;
        options = LoadOptions { keep_alive: body.keep_alive, context };
    }
    change(&state, &caller, name, options).await
}

/// No field is known yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UnloadBody {}

/// Unload a model, as soon as the requests that use it have finished
#[utoipa::path(post, path = "/models/{name}/unload", tag = "Models", params(NameParam),
    request_body(content = Option<UnloadBody>, example = json!({})),
    responses((status = 200, body = LoadReply)))]
pub(in crate::http) async fn unload(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(name): Named,
    _body: Option<Body<UnloadBody>>,
) -> Result<Json<LoadReply>> {
    let options = LoadOptions { keep_alive: Some(KeepAlive::NONE), context: None };
    change(&state, &caller, name, options).await
}

async fn change(
    state: &HttpState,
    caller: &Caller,
    name: String,
    options: LoadOptions,
) -> Result<Json<LoadReply>> {
    let mut reply = state.app.load(caller, name, options).await?;
    let (model, done) = (reply.model.clone(), reply.collect().await?.done);
    let load_duration = nanos(done.timings.load);
    Ok(Json(LoadReply { model, loaded: done.reason == FinishReason::Load, load_duration }))
}

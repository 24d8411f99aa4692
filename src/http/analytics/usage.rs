//! `/analytics/usage`: usage by key, model or endpoint over a period.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{PeriodBody, Succeeded, one_of, since_minutes};
use crate::{
    http::{
        HttpState,
        closed_set::words,
        extract::{Query, filled},
        middleware::errors::Result,
    },
    telemetry::aggregates::Aggregates,
    types::KeyId,
};

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct UsageQuery {
    /// Length of the period in minutes, up to now; limited by the retention time. Defaults to everything that is kept.
    #[param(value_type = Option<u64>, minimum = 1)]
    since_minutes: Option<String>,
    /// Group by `key` (default), `model` or `endpoint`.
    #[param(schema_with = groups)]
    #[serde(default, deserialize_with = "filled")]
    by: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct UsageReply {
    status: Succeeded,
    period: PeriodBody,
    #[schema(schema_with = groups)]
    by: &'static str,
    /// Sorted by number of tokens, most first.
    usage: Vec<UsageBody>,
}

#[derive(Serialize, ToSchema)]
struct UsageBody {
    /// For a key: the first 8 hexadecimal digits of its SHA-256.
    name: String,
    /// For a model: calls that it answered or failed to answer, not counting cache hits.
    requests: u64,
    errors: u64,
    /// Tokens that models have processed and generated.
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Bytes of request and response bodies. Not known by model.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
}

/// Groups that usage can be requested by.
const GROUPS: [&str; 3] = ["key", "model", "endpoint"];

fn groups() -> RefOr<Schema> {
    words(GROUPS)
}

/// Get usage by key, model or endpoint
#[utoipa::path(get, path = "/analytics/usage", tag = "Analytics", params(UsageQuery),
    responses((status = 200, body = UsageReply)))]
pub(in crate::http) async fn usage(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<UsageReply>> {
    let by = one_of("by", query.by.as_deref().unwrap_or("key"), GROUPS)?;
    let since = since_minutes(&state.app, query.since_minutes.as_deref(), u64::MAX)?;
    let covered = state.app.aggregates(since).await;
    let mut usage = match by {
        "key" => by_key(&covered.aggregates),
        "model" => by_model(&covered.aggregates),
        _ => by_endpoint(&covered.aggregates),
    };
    usage.sort_by_key(|usage| {
        std::cmp::Reverse((usage.prompt_tokens.saturating_add(usage.completion_tokens), usage.requests))
    });
    Ok(Json(UsageReply { status: Succeeded::Success, period: PeriodBody::new(since, &covered), by, usage }))
}

fn by_key(aggregates: &Aggregates) -> Vec<UsageBody> {
    let keys = aggregates.keys.iter().map(|(id, key)| UsageBody {
        name: KeyId::new(*id).to_string(),
        requests: key.requests,
        errors: key.errors,
        prompt_tokens: key.tokens.prompt_tokens,
        completion_tokens: key.tokens.completion_tokens,
        bytes_in: Some(key.bytes_in),
        bytes_out: Some(key.bytes_out),
    });
    keys.collect()
}

fn by_model(aggregates: &Aggregates) -> Vec<UsageBody> {
    let models = aggregates.models.iter().map(|(name, model)| UsageBody {
        name: name.to_string(),
        requests: model.requests.saturating_add(model.errors),
        errors: model.errors,
        prompt_tokens: model.tokens.prompt_tokens,
        completion_tokens: model.tokens.completion_tokens,
        bytes_in: None,
        bytes_out: None,
    });
    models.collect()
}

fn by_endpoint(aggregates: &Aggregates) -> Vec<UsageBody> {
    let endpoints = aggregates.endpoints.iter().map(|((method, route), endpoint)| UsageBody {
        name: format!("{method} {route}"),
        requests: endpoint.durations.count,
        errors: endpoint.errors,
        prompt_tokens: endpoint.tokens.prompt_tokens,
        completion_tokens: endpoint.tokens.completion_tokens,
        bytes_in: Some(endpoint.bytes_in),
        bytes_out: Some(endpoint.bytes_out),
    });
    endpoints.collect()
}

//! `/analytics/stats`: totals over a period, which all figures cover.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PeriodBody, Succeeded, since_minutes};
use crate::{
    cache::EntryType,
    http::{HttpState, extract::Query, middleware::errors::Result},
    store::Covered,
    telemetry::{
        aggregates::{Aggregates, Durations, EndpointAggregates, Endpoints, percent},
        labels::CLIENT_CLOSED_STATUS,
    },
};

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct StatsQuery {
    /// Length of the period in minutes, up to now; limited by the retention time. Defaults to everything that is kept.
    #[param(value_type = Option<u64>, minimum = 1)]
    since_minutes: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StatsReply {
    status: Succeeded,
    period: PeriodBody,
    metrics: StatsBody,
}

/// API requests. Durations are in seconds, rates are percentages.
#[derive(Serialize, ToSchema)]
struct StatsBody {
    /// Without requests that had no valid key, and without the service's own routes.
    total_requests: u64,
    /// Responses with a status of 400 or above, and streams that broke off. Clients that disconnected are not counted.
    total_errors: u64,
    /// `total_errors` as a percentage (0 to 100) of `total_requests`.
    error_rate: f64,
    avg_response_time: f64,
    p50_response_time: f64,
    p95_response_time: f64,
    p99_response_time: f64,
    requests_per_minute: f64,
    /// By status class: `2xx`, `4xx` …
    status_distribution: BTreeMap<String, u64>,
    /// By method and route: `POST /inference/chat`.
    endpoint_breakdown: BTreeMap<String, EndpointBody>,
    cache: LookupStatsBody,
    /// By model.
    llm: BTreeMap<String, LlmBody>,
    /// Number of clients that disconnected before the response was complete.
    client_closed: u64,
    /// Requests that were refused because they had no valid key. Not included in the other figures.
    unauthenticated: UnauthenticatedBody,
    /// The service's own routes (health, metrics, analytics, documentation). Not included in the other figures.
    service: ServiceBody,
    retention_hours: u64,
}

/// Durations are in seconds, rates are percentages.
#[derive(Serialize, ToSchema)]
struct ServiceBody {
    total_requests: u64,
    total_errors: u64,
    avg_response_time: f64,
    /// By method and route: `GET /metrics`.
    endpoint_breakdown: BTreeMap<String, EndpointBody>,
}

#[derive(Serialize, ToSchema)]
struct EndpointBody {
    requests: u64,
    avg_time: f64,
    min_time: f64,
    max_time: f64,
    p50_time: f64,
    p95_time: f64,
    p99_time: f64,
    errors: u64,
    /// Percentage (0 to 100).
    error_rate: f64,
}

#[derive(Serialize, ToSchema)]
struct LookupStatsBody {
    hits: u64,
    misses: u64,
    /// Percentage (0 to 100).
    hit_rate: f64,
    by_type: BTreeMap<EntryType, LookupsBody>,
}

#[derive(Serialize, ToSchema)]
struct LookupsBody {
    hits: u64,
    misses: u64,
    /// Percentage (0 to 100).
    hit_rate: f64,
}

#[derive(Serialize, ToSchema)]
struct LlmBody {
    requests: u64,
    errors: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    p50_time_to_first_token: f64,
    p95_time_to_first_token: f64,
    avg_time_per_output_token: f64,
}

#[derive(Serialize, ToSchema)]
struct UnauthenticatedBody {
    requests: u64,
    /// By status: `401`, `404` …
    by_status: BTreeMap<String, u64>,
}

/// Get statistics
#[utoipa::path(get, path = "/analytics/stats", tag = "Analytics", params(StatsQuery),
    responses((status = 200, body = StatsReply)))]
pub(in crate::http) async fn stats(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<StatsReply>> {
    let app = &state.app;
    let since = since_minutes(app, query.since_minutes.as_deref(), u64::MAX)?;
    let covered = app.aggregates(since).await;
    let period = PeriodBody::new(since, &covered);
    let metrics = StatsBody::new(&covered, app.retention_hours());
    Ok(Json(StatsReply { status: Succeeded::Success, period, metrics }))
}

impl StatsBody {
    fn new(covered: &Covered<Aggregates>, retention_hours: u64) -> Self {
        let aggregates = &covered.aggregates;
        let durations = aggregates.durations();
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        let mut client_closed = 0;
        for (status, count) in aggregates.endpoints.values().flat_map(|endpoint| &endpoint.statuses) {
            *statuses.entry(format!("{}xx", status / 100)).or_default() += count;
            client_closed += if *status == CLIENT_CLOSED_STATUS { *count } else { 0 };
        }
        Self {
            total_requests: durations.count,
            total_errors: aggregates.errors(),
            error_rate: aggregates.error_rate(),
            avg_response_time: durations.mean(),
            p50_response_time: durations.quantile(0.5),
            p95_response_time: durations.quantile(0.95),
            p99_response_time: durations.quantile(0.99),
            requests_per_minute: durations.count as f64 / covered.minutes(),
            status_distribution: statuses,
            endpoint_breakdown: endpoints(&aggregates.endpoints),
            cache: LookupStatsBody::new(aggregates),
            llm: llm(aggregates),
            client_closed,
            unauthenticated: UnauthenticatedBody {
                requests: aggregates.unauthenticated.values().sum(),
                by_status: aggregates
                    .unauthenticated
                    .iter()
                    .map(|(status, n)| (status.to_string(), *n))
                    .collect(),
            },
            service: ServiceBody::from(&aggregates.service),
            retention_hours,
        }
    }
}

impl From<&Endpoints> for ServiceBody {
    fn from(service: &Endpoints) -> Self {
        let mut durations = Durations::default();
        service.values().for_each(|endpoint| durations.merge(&endpoint.durations));
        Self {
            total_requests: durations.count,
            total_errors: service.values().map(|endpoint| endpoint.errors).sum(),
            avg_response_time: durations.mean(),
            endpoint_breakdown: endpoints(service),
        }
    }
}

fn endpoints(endpoints: &Endpoints) -> BTreeMap<String, EndpointBody> {
    // A model's work may end in another minute than the request that asked for it.
    let asked = endpoints.iter().filter(|(_, endpoint)| endpoint.durations.count > 0);
    asked.map(|((method, route), endpoint)| (format!("{method} {route}"), endpoint.into())).collect()
}

impl From<&EndpointAggregates> for EndpointBody {
    fn from(aggregates: &EndpointAggregates) -> Self {
        let durations = &aggregates.durations;
        Self {
            requests: durations.count,
            avg_time: durations.mean(),
            min_time: durations.min(),
            max_time: durations.max(),
            p50_time: durations.quantile(0.5),
            p95_time: durations.quantile(0.95),
            p99_time: durations.quantile(0.99),
            errors: aggregates.errors,
            error_rate: percent(aggregates.errors, durations.count),
        }
    }
}

impl LookupStatsBody {
    fn new(aggregates: &Aggregates) -> Self {
        let by_type = EntryType::ALL.into_iter().map(|entry_type| {
            let (hits, misses) = (aggregates.cache_hits[entry_type], aggregates.cache_misses[entry_type]);
            (entry_type, LookupsBody { hits, misses, hit_rate: percent(hits, hits + misses) })
        });
        Self {
            by_type: by_type.collect(),
            hits: aggregates.cache_hits.sum(),
            misses: aggregates.cache_misses.sum(),
            hit_rate: aggregates.hit_rate(),
        }
    }
}

fn llm(aggregates: &Aggregates) -> BTreeMap<String, LlmBody> {
    let models = aggregates.models.iter().map(|(name, model)| {
        let body = LlmBody {
            requests: model.requests,
            errors: model.errors,
            prompt_tokens: model.tokens.prompt_tokens,
            completion_tokens: model.tokens.completion_tokens,
            p50_time_to_first_token: model.first_token.quantile(0.5),
            p95_time_to_first_token: model.first_token.quantile(0.95),
            avg_time_per_output_token: model.per_token.mean(),
        };
        (name.to_string(), body)
    });
    models.collect()
}

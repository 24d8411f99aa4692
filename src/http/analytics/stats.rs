//! `/analytics/stats`: the service over a time, every figure of the same time.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PeriodBody, since_minutes};
use crate::{
    cache::Kind,
    http::{Edge, error::Result, extract::Query},
    store::Covered,
    telemetry::{
        labels::CLIENT_LEFT,
        rollups::{Durations, EndpointFigures, Endpoints, Figures, percent},
    },
};

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct StatsQuery {
    /// Minutes back from now, at most what is kept; everything that is kept when absent.
    #[param(value_type = Option<u64>, minimum = 1)]
    since_minutes: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StatsReply {
    status: &'static str,
    period: PeriodBody,
    metrics: StatsBody,
}

/// Requests to the API. Durations are in seconds, and rates in percent.
#[derive(Serialize, ToSchema)]
struct StatsBody {
    /// Without what strangers were refused, and without the service's own routes.
    total_requests: u64,
    /// Replies with a status of 400 and more, and streams that broke off; without clients that left.
    total_errors: u64,
    /// Percent (0 to 100) of `total_errors` among `total_requests`.
    error_rate: f64,
    avg_response_time: f64,
    p50_response_time: f64,
    p95_response_time: f64,
    p99_response_time: f64,
    requests_per_minute: f64,
    /// By class of status: `2xx`, `4xx` …
    status_distribution: BTreeMap<String, u64>,
    /// By method and route: `POST /inference/chat`.
    endpoint_breakdown: BTreeMap<String, EndpointBody>,
    cache: LookupStatsBody,
    /// By model.
    llm: BTreeMap<String, LlmBody>,
    /// Clients that left before their reply was complete.
    clients_left: u64,
    /// Requests without a key that were refused; in none of the figures above.
    strangers: StrangersBody,
    /// The service's own routes (health, metrics, analytics, documentation); in none of the figures above.
    service: ServiceBody,
    retention_hours: u64,
}

/// Durations are in seconds, and rates in percent.
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
    /// Percent (0 to 100).
    error_rate: f64,
}

#[derive(Serialize, ToSchema)]
struct LookupStatsBody {
    hits: u64,
    misses: u64,
    /// Percent (0 to 100).
    hit_rate: f64,
    /// By type: `embedding`, `inference`, `chat`, `vision`.
    by_type: BTreeMap<&'static str, LookupsBody>,
}

#[derive(Serialize, ToSchema)]
struct LookupsBody {
    hits: u64,
    misses: u64,
    /// Percent (0 to 100).
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
struct StrangersBody {
    requests: u64,
    /// By status: `401`, `404` …
    by_status: BTreeMap<String, u64>,
}

/// The service over a time
#[utoipa::path(get, path = "/analytics/stats", tag = "Analytics", params(StatsQuery),
    responses((status = 200, body = StatsReply)))]
pub(in crate::http) async fn stats(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<StatsReply>> {
    let history = &edge.app.history;
    let since = since_minutes(history, query.since_minutes.as_deref(), u64::MAX)?;
    let covered = history.figures(since).await;
    let period = PeriodBody::new(since, &covered);
    let metrics = StatsBody::new(&covered, history.retention_hours());
    Ok(Json(StatsReply { status: "success", period, metrics }))
}

impl StatsBody {
    fn new(covered: &Covered<Figures>, retention_hours: u64) -> Self {
        let figures = &covered.figures;
        let durations = figures.durations();
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        let mut clients_left = 0;
        for (status, count) in figures.endpoints.values().flat_map(|endpoint| &endpoint.statuses) {
            *statuses.entry(format!("{}xx", status / 100)).or_default() += count;
            clients_left += if *status == CLIENT_LEFT { *count } else { 0 };
        }
        Self {
            total_requests: durations.count,
            total_errors: figures.errors(),
            error_rate: figures.error_rate(),
            avg_response_time: durations.mean(),
            p50_response_time: durations.quantile(0.5),
            p95_response_time: durations.quantile(0.95),
            p99_response_time: durations.quantile(0.99),
            requests_per_minute: durations.count as f64 / covered.minutes(),
            status_distribution: statuses,
            endpoint_breakdown: endpoints(&figures.endpoints),
            cache: LookupStatsBody::new(figures),
            llm: llm(figures),
            clients_left,
            strangers: StrangersBody {
                requests: figures.strangers.values().sum(),
                by_status: figures.strangers.iter().map(|(status, n)| (status.to_string(), *n)).collect(),
            },
            service: ServiceBody::from(&figures.service),
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

impl From<&EndpointFigures> for EndpointBody {
    fn from(figures: &EndpointFigures) -> Self {
        let durations = &figures.durations;
        Self {
            requests: durations.count,
            avg_time: durations.mean(),
            min_time: durations.min(),
            max_time: durations.max(),
            p50_time: durations.quantile(0.5),
            p95_time: durations.quantile(0.95),
            p99_time: durations.quantile(0.99),
            errors: figures.errors,
            error_rate: percent(figures.errors, durations.count),
        }
    }
}

impl LookupStatsBody {
    fn new(figures: &Figures) -> Self {
        let by_type = Kind::ALL.into_iter().enumerate().map(|(at, kind)| {
            let (hits, misses) = (figures.cache_hits[at], figures.cache_misses[at]);
            (kind.as_str(), LookupsBody { hits, misses, hit_rate: percent(hits, hits + misses) })
        });
        Self {
            by_type: by_type.collect(),
            hits: figures.cache_hits.iter().sum(),
            misses: figures.cache_misses.iter().sum(),
            hit_rate: figures.hit_rate(),
        }
    }
}

fn llm(figures: &Figures) -> BTreeMap<String, LlmBody> {
    let models = figures.models.iter().map(|(name, model)| {
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

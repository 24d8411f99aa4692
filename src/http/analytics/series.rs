//! `/analytics/series`: one figure over time, for charts.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{PeriodBody, Succeeded, one_of, since_minutes, within};
use crate::{
    error::{self, Error},
    http::{
        HttpState,
        closed_set::words,
        extract::{Query, filled},
        middleware::errors::Result,
        route,
    },
    telemetry::aggregates::{Aggregates, Durations},
};

/// Above a day figures are kept by the hour.
const MINUTES_OF_A_DAY: u64 = 1440;
const HOUR: u64 = 60;

/// Points of a chart when no step is asked for, about.
const POINTS: u64 = 120;

/// A figure of a step; none where it has no meaning because nothing happened.
type Read = fn(&Aggregates) -> Option<f64>;

/// Metrics that can be requested.
const METRICS: [(&str, Read); 15] = [
    ("requests", |aggregates| Some(aggregates.requests() as f64)),
    ("errors", |aggregates| Some(aggregates.errors() as f64)),
    ("error_rate", |aggregates| share(aggregates.errors(), aggregates.requests())),
    ("avg_response_time", |aggregates| of(&aggregates.durations(), Durations::mean)),
    ("p50_response_time", |aggregates| of(&aggregates.durations(), |all| all.quantile(0.5))),
    ("p95_response_time", |aggregates| of(&aggregates.durations(), |all| all.quantile(0.95))),
    ("p99_response_time", |aggregates| of(&aggregates.durations(), |all| all.quantile(0.99))),
    ("prompt_tokens", |aggregates| Some(aggregates.tokens().prompt_tokens as f64)),
    ("completion_tokens", |aggregates| Some(aggregates.tokens().completion_tokens as f64)),
    ("p50_time_to_first_token", |aggregates| of(&first_token(aggregates), |all| all.quantile(0.5))),
    ("p95_time_to_first_token", |aggregates| of(&first_token(aggregates), |all| all.quantile(0.95))),
    ("cache_hits", |aggregates| Some(aggregates.cache_hits.sum() as f64)),
    ("cache_misses", |aggregates| Some(aggregates.cache_misses.sum() as f64)),
    ("cache_hit_rate", |aggregates| {
        let (hits, misses): (u64, u64) = (aggregates.cache_hits.sum(), aggregates.cache_misses.sum());
        share(hits, hits + misses)
    }),
    ("unauthenticated", |aggregates| Some(aggregates.unauthenticated.values().sum::<u64>() as f64)),
];

/// Metrics that are also counted by endpoint.
const BY_ENDPOINT: [&str; 7] = [
    "requests",
    "errors",
    "error_rate",
    "avg_response_time",
    "p50_response_time",
    "p95_response_time",
    "p99_response_time",
];

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct SeriesQuery {
    /// Statistic to return. Defaults to `requests`.
    #[param(schema_with = metrics)]
    #[serde(default, deserialize_with = "filled")]
    metric: Option<String>,
    /// Method and route, such as `POST /inference/chat`, of the only requests to count. For the metrics of requests,
    /// errors and response times.
    #[serde(default, deserialize_with = "filled")]
    endpoint: Option<String>,
    /// Length of the period in minutes, up to now; limited by the retention time. Defaults to 60.
    #[param(value_type = Option<u64>, minimum = 1)]
    since_minutes: Option<String>,
    /// Minutes per point. Must be a multiple of 60 if `since_minutes` is more than a day.
    #[param(value_type = Option<u64>, minimum = 1)]
    step: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SeriesReply {
    status: Succeeded,
    #[schema(schema_with = metrics)]
    metric: &'static str,
    period: PeriodBody,
    /// Minutes.
    step: u64,
    /// Oldest first. The last one is still in progress.
    points: Vec<PointBody>,
}

#[derive(Serialize, ToSchema)]
struct PointBody {
    /// Start of the step (RFC 3339).
    timestamp: String,
    /// Seconds for times, a fraction (0 to 1) for rates; null if there were no requests to compute them from.
    value: Option<f64>,
}

/// Get a time series
#[utoipa::path(get, path = "/analytics/series", tag = "Analytics", params(SeriesQuery),
    responses((status = 200, body = SeriesReply)))]
pub(in crate::http) async fn series(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<SeriesReply>> {
    let app = &state.app;
    let asked = query.metric.as_deref().unwrap_or("requests");
    let metric = one_of("metric", asked, METRICS.map(|(name, _)| name))?;
    let since = since_minutes(app, query.since_minutes.as_deref(), 60)?;
    let step = step(query.step.as_deref(), since)?;
    let endpoint = query.endpoint.as_deref().map(|endpoint| of_endpoint(metric, endpoint)).transpose()?;
    let covered = app.series(since, step).await;
    let period = PeriodBody::new(since, &covered);
    let read = METRICS.into_iter().find(|(name, _)| *name == metric).map(|(_, read)| read);
    let points = covered.aggregates.iter().map(|(start, aggregates)| PointBody {
        timestamp: Timestamp::from_second(start * 60).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        value: read.and_then(|read| match endpoint {
            Some((method, route)) => read(&aggregates.only(method, route)),
            None => read(aggregates),
        }),
    });
    Ok(Json(SeriesReply { status: Succeeded::Success, metric, period, step, points: points.collect() }))
}

/// Method and route of an endpoint, if the metric is counted by endpoint.
fn of_endpoint<'a>(metric: &str, endpoint: &'a str) -> error::Result<(&'a str, &'a str)> {
    if !BY_ENDPOINT.contains(&metric) {
        let message = format!("is not possible with the metric {metric}, which is not counted by endpoint");
        return Err(Error::field("/endpoint", message));
    }
    let named = endpoint.split_once(' ').filter(|(_, template)| route::find(template).is_some());
    named.ok_or_else(|| {
        Error::field("/endpoint", "must be the method and route of an endpoint, such as POST /inference/chat")
    })
}

fn metrics() -> RefOr<Schema> {
    words(METRICS.map(|(name, _)| name))
}

fn step(given: Option<&str>, since: u64) -> error::Result<u64> {
    let hourly = since > MINUTES_OF_A_DAY;
    let some = since.div_ceil(POINTS);
    let step = within("step", given, 1..=since, if hourly { some.next_multiple_of(HOUR) } else { some })?;
    if hourly && !step.is_multiple_of(HOUR) {
        return Err(Error::field("/step", "must be a multiple of 60 when since_minutes is above 1440"));
    }
    Ok(step)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn of(durations: &Durations, read: impl Fn(&Durations) -> f64) -> Option<f64> {
    (durations.count > 0).then(|| read(durations))
}

fn first_token(aggregates: &Aggregates) -> Durations {
    let mut all = Durations::default();
    aggregates.models.values().for_each(|model| all.merge(&model.first_token));
    all
}

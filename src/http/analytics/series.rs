//! `/analytics/series`: one figure over time, for charts.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PeriodBody, one_of, since_minutes, within};
use crate::{
    error::{self, Error},
    http::{
        Edge,
        error::Result,
        extract::{Query, filled},
    },
    telemetry::rollups::{Durations, Figures},
};

/// Above a day figures are kept by the hour.
const MINUTES_OF_A_DAY: u64 = 1440;
const HOUR: u64 = 60;

/// Points of a chart when no step is asked for, about.
const POINTS: u64 = 120;

/// A figure of a step; none where it has no meaning because nothing happened.
type Read = fn(&Figures) -> Option<f64>;

/// Metrics that can be requested.
const METRICS: [(&str, Read); 15] = [
    ("requests", |figures| Some(figures.requests() as f64)),
    ("errors", |figures| Some(figures.errors() as f64)),
    ("error_rate", |figures| share(figures.errors(), figures.requests())),
    ("avg_response_time", |figures| of(&figures.durations(), Durations::mean)),
    ("p50_response_time", |figures| of(&figures.durations(), |all| all.quantile(0.5))),
    ("p95_response_time", |figures| of(&figures.durations(), |all| all.quantile(0.95))),
    ("p99_response_time", |figures| of(&figures.durations(), |all| all.quantile(0.99))),
    ("prompt_tokens", |figures| Some(figures.tokens().prompt_tokens as f64)),
    ("completion_tokens", |figures| Some(figures.tokens().completion_tokens as f64)),
    ("p50_time_to_first_token", |figures| of(&first_token(figures), |all| all.quantile(0.5))),
    ("p95_time_to_first_token", |figures| of(&first_token(figures), |all| all.quantile(0.95))),
    ("cache_hits", |figures| Some(figures.cache_hits.iter().sum::<u64>() as f64)),
    ("cache_misses", |figures| Some(figures.cache_misses.iter().sum::<u64>() as f64)),
    ("cache_hit_rate", |figures| {
        let (hits, misses): (u64, u64) = (figures.cache_hits.iter().sum(), figures.cache_misses.iter().sum());
        share(hits, hits + misses)
    }),
    ("strangers", |figures| Some(figures.strangers.values().sum::<u64>() as f64)),
];

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct SeriesQuery {
    /// `requests`, `errors`, `error_rate`, `avg_response_time`, `p50_response_time`,
    /// `p95_response_time`, `p99_response_time`, `prompt_tokens`, `completion_tokens`,
    /// `p50_time_to_first_token`, `p95_time_to_first_token`, `cache_hits`, `cache_misses`,
    /// `cache_hit_rate` or `strangers`.
    #[serde(default, deserialize_with = "filled")]
    metric: Option<String>,
    /// Minutes back from now, at most what is kept; 60 when absent.
    #[param(value_type = Option<u64>, minimum = 1)]
    since_minutes: Option<String>,
    /// Minutes that a point stands for; above a day of `since_minutes` a multiple of 60.
    #[param(value_type = Option<u64>, minimum = 1)]
    step: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SeriesReply {
    status: &'static str,
    metric: &'static str,
    period: PeriodBody,
    /// Minutes.
    step: u64,
    /// From the oldest to the newest, which is not over yet.
    points: Vec<PointBody>,
}

#[derive(Serialize, ToSchema)]
struct PointBody {
    /// When the step begins, RFC 3339.
    timestamp: String,
    /// Seconds for times, a share (0 to 1) for rates; null where nothing happened that has a time or a rate.
    value: Option<f64>,
}

/// One figure over time
#[utoipa::path(get, path = "/analytics/series", tag = "Analytics", params(SeriesQuery),
    responses((status = 200, body = SeriesReply)))]
pub(in crate::http) async fn series(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<SeriesReply>> {
    let history = &edge.app.history;
    let asked = query.metric.as_deref().unwrap_or("requests");
    let metric = one_of("metric", asked, METRICS.map(|(name, _)| name))?;
    let since = since_minutes(history, query.since_minutes.as_deref(), 60)?;
    let step = step(query.step.as_deref(), since)?;
    let covered = history.series(since, step).await;
    let period = PeriodBody::new(since, &covered);
    let read = METRICS.into_iter().find(|(name, _)| *name == metric).map(|(_, read)| read);
    let points = covered.figures.iter().map(|(start, figures)| PointBody {
        timestamp: Timestamp::from_second(start * 60).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        value: read.and_then(|read| read(figures)),
    });
    Ok(Json(SeriesReply { status: "success", metric, period, step, points: points.collect() }))
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

fn first_token(figures: &Figures) -> Durations {
    let mut all = Durations::default();
    figures.models.values().for_each(|model| all.merge(&model.first_token));
    all
}

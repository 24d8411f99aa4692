//! `/analytics/live`: current statistics, once a second until the client disconnects.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval},
};
use utoipa::ToSchema;

use super::{alerts::AlertReply, rfc3339};
use crate::{
    app::LiveReport,
    error::{Error, Kind},
    http::{
        HttpState,
        middleware::{auth::Caller, errors::Result},
        reply::{Frames, Framing},
    },
    telemetry::aggregates::{Durations, Latencies},
};

/// Rates are those of so many seconds, the one that is not over left out.
const SECONDS: u64 = 10;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LiveEvent {
    /// RFC 3339.
    timestamp: String,
    /// API requests in progress. All figures here are for the API only.
    requests_in_progress: u64,
    /// Requests waiting for a slot of the embedded engine.
    requests_waiting: usize,
    /// Rate over the last 10 seconds.
    requests_per_second: f64,
    /// Rate over the last 10 seconds of requests with a status of 400 or above, or a stream that broke off.
    errors_per_second: f64,
    /// Fraction (0 to 1) of the requests of the last 10 seconds that are such errors.
    error_rate: f64,
    /// Seconds, for the requests that ended in the last 10 seconds.
    avg_response_time: f64,
    /// Median response time in seconds, over the last 60 seconds; null if no request ended.
    p50_response_time: Option<f64>,
    /// Seconds, over the last 60 seconds; null if no request ended.
    p95_response_time: Option<f64>,
    /// Seconds, over the last 60 seconds; null if no request ended.
    p99_response_time: Option<f64>,
    /// Median time in seconds from a call of a model to its first token, over the last 60 seconds; null if none
    /// answered. Cached replies do not count.
    p50_time_to_first_token: Option<f64>,
    /// Seconds, over the last 60 seconds; null if no model answered.
    p95_time_to_first_token: Option<f64>,
    /// Rate over the last 10 seconds.
    prompt_tokens_per_second: f64,
    /// Rate over the last 10 seconds.
    completion_tokens_per_second: f64,
    /// Fraction (0 to 1) over the last 10 seconds; null if there were no lookups.
    cache_hit_rate: Option<f64>,
    /// Active alerts, as in `/analytics/alerts`.
    alerts: Vec<AlertReply>,
}

/// Room for streams of live statistics: they never end by themselves, and would take all connections.
#[derive(Clone)]
pub struct LiveStreams(Arc<Semaphore>);

/// Maximum number of streams.
const LIVE_STREAMS: usize = 32;

impl Default for LiveStreams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LIVE_STREAMS)))
    }
}

impl LiveStreams {
    /// # Errors
    /// `Busy`
    fn enter(&self) -> crate::error::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            let message = format!("{LIVE_STREAMS} streams of live statistics are open already; close one.");
            Error::new(Kind::Busy, message).retry_after(Duration::from_secs(5))
        })
    }
}

/// Stream live statistics, one server-sent event per second
#[utoipa::path(get, path = "/analytics/live", tag = "Analytics",
    responses((status = 200, body = LiveEvent, content_type = "text/event-stream")))]
pub(in crate::http) async fn live(State(state): State<Arc<HttpState>>, caller: Caller) -> Result<Response> {
    let open = state.live_streams.enter()?;
    // The client ends it, which is neither a failure nor a slow reply.
    caller.recorder.endless();
    let events = async_stream::stream! {
        let _open = open;
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = state.app.stopping().cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut frames = Frames::default();
            frames.data(&LiveEvent::now(&state));
            yield Ok(frames.take());
        }
    };
    Ok(Framing::Sse.response(events))
}

impl LiveEvent {
    fn now(state: &HttpState) -> Self {
        let LiveReport { at, recent, latencies, requests_in_progress, requests_waiting, alerts } =
            state.app.live_report(SECONDS);
        let Latencies { response, first_token } = latencies;
        let each_second = |count: u64| count as f64 / SECONDS as f64;
        let lookups = recent.cache_hits + recent.cache_misses;
        Self {
            timestamp: rfc3339(at),
            requests_in_progress,
            requests_waiting,
            requests_per_second: each_second(recent.requests),
            errors_per_second: each_second(recent.errors),
            error_rate: recent.error_rate(),
            avg_response_time: recent.mean().as_secs_f64(),
            p50_response_time: quantile(&response, 0.5),
            p95_response_time: quantile(&response, 0.95),
            p99_response_time: quantile(&response, 0.99),
            p50_time_to_first_token: quantile(&first_token, 0.5),
            p95_time_to_first_token: quantile(&first_token, 0.95),
            prompt_tokens_per_second: each_second(recent.tokens.prompt_tokens),
            completion_tokens_per_second: each_second(recent.tokens.completion_tokens),
            cache_hit_rate: (lookups > 0).then(|| recent.cache_hits as f64 / lookups as f64),
            alerts: alerts.into_iter().map(AlertReply::from).collect(),
        }
    }
}

fn quantile(durations: &Durations, share: f64) -> Option<f64> {
    (durations.count > 0).then(|| durations.quantile(share))
}

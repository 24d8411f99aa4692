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
    // The rest is of the last 10 seconds.
    requests_per_second: f64,
    /// Fraction (0 to 1) of requests with a status of 400 or above, or a stream that broke off.
    error_rate: f64,
    /// Seconds, for the requests that ended.
    avg_response_time: f64,
    prompt_tokens_per_second: f64,
    completion_tokens_per_second: f64,
    /// Fraction (0 to 1); null if there were no lookups.
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
        let LiveReport { at, recent, requests_in_progress, requests_waiting, alerts } =
            state.app.live_report(SECONDS);
        let each_second = |count: u64| count as f64 / SECONDS as f64;
        let lookups = recent.cache_hits + recent.cache_misses;
        Self {
            timestamp: rfc3339(at),
            requests_in_progress,
            requests_waiting,
            requests_per_second: each_second(recent.requests),
            error_rate: recent.error_rate(),
            avg_response_time: recent.mean().as_secs_f64(),
            prompt_tokens_per_second: each_second(recent.tokens.prompt_tokens),
            completion_tokens_per_second: each_second(recent.tokens.completion_tokens),
            cache_hit_rate: (lookups > 0).then(|| recent.cache_hits as f64 / lookups as f64),
            alerts: alerts.into_iter().map(AlertReply::from).collect(),
        }
    }
}

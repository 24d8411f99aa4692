//! `/models/pull`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_stream::stream;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use crate::{
    backend::{Progress, PullStream},
    error::{Error, Kind},
    http::{
        HttpState,
        extract::Json as Body,
        middleware::{
            auth::Caller,
            errors::{ErrorFormat, Result},
        },
        reply::{SseFrames, sse},
    },
    types::ModelName,
};

/// Shortest time between two events about one file.
const PACE: Duration = Duration::from_millis(100);

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PullBody {
    /// Name of the model: `qwen2.5:7b`, `namespace/name`, or `hf.co/owner/repository:Q4_K_M`.
    model: String,
    /// Whether to send progress as server-sent events, or one JSON object at the end.
    #[schema(default = true)]
    stream: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PullEvent {
    /// `pulling manifest`, `pulling 5838c06c15cd` and so on for each file, `verifying sha256 digest`, `writing manifest`,
    /// and at the end `success`.
    status: String,
    /// Digest of the file that is being downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Bytes of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Bytes that are on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u64>,
    /// Bytes of `completed` that an earlier, interrupted download had left.
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<u64>,
}

impl From<Progress> for PullEvent {
    fn from(Progress { status, file }: Progress) -> Self {
        let (total, completed) = file.as_ref().map(|file| (file.total, file.completed)).unzip();
        let resumed = file.as_ref().map(|file| file.resumed).filter(|resumed| *resumed > 0);
        Self { status, digest: file.map(|file| file.digest), total, completed, resumed }
    }
}

/// Download a model, or continue an interrupted download
///
/// The download stops when all clients that wait for it have left; the next one continues it.
#[utoipa::path(post, path = "/models/pull", tag = "Models",
    request_body(content = PullBody, example = json!({"model": "all-minilm"})),
    responses((status = 200, content((PullEvent = "text/event-stream"), (PullEvent = "application/json")))))]
pub(in crate::http) async fn pull(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Body(body, _): Body<PullBody>,
) -> Result<Response> {
    let name: ModelName = body.model.parse().map_err(|accepted: String| Error::field("/model", accepted))?;
    let mut progress = state.app.pull_model(&name).await?;
    // A model that does not exist is an error with a status of its own.
    let mut begun = Vec::new();
    while let Ok(Some(step)) = timeout(state.streams.headers_after, progress.next()).await {
        begun.push(step?);
        if begun.len() > 1 {
            break;
        }
    }
    if body.stream.unwrap_or(true) {
        return Ok(sse::response(events(state, caller, begun, progress)));
    }
    let mut last = begun.pop();
    while let Some(step) = progress.next().await {
        last = Some(step?);
    }
    Ok(Json(last.map(PullEvent::from)).into_response())
}

/// Progress as events, at a pace that a client can follow.
fn events(
    state: Arc<HttpState>,
    caller: Caller,
    begun: Vec<Progress>,
    mut progress: PullStream,
) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    stream! {
        for step in begun {
            yield Ok(frame(step));
        }
        loop {
            let next = tokio::select! {
                () = state.cutoff.cancelled() => Some(Err(Error::new(Kind::ShuttingDown, "The server is shutting down; pull the model again to continue."))),
                next = timeout(state.streams.ping_every, progress.next()) => match next {
                    Ok(next) => next,
                    Err(_) => {
                        yield Ok(Bytes::from_static(crate::http::reply::PING));
                        continue;
                    }
                },
            };
            match next {
                Some(Ok(step)) => {
                    let is_file = step.file.as_ref().is_some_and(|file| file.completed < file.total);
                    yield Ok(frame(step));
                    if is_file {
                        sleep(PACE).await;
                    }
                }
                Some(Err(error)) => {
                    caller.recorder.failed(&error);
                    let mut frames = SseFrames::default();
                    let problem = ErrorFormat::Problem.write(&error, caller.recorder.request_id());
                    frames.named("error", &problem);
                    yield Ok(frames.take());
                    return;
                }
                None => return,
            }
        }
    }
}

fn frame(step: Progress) -> Bytes {
    let mut frames = SseFrames::default();
    frames.data(&PullEvent::from(step));
    frames.take()
}

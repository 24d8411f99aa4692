//! `/models/pull`.

use std::{pin::pin, sync::Arc, time::Duration};

use async_stream::stream;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use utoipa::ToSchema;

use crate::{
    backend::Progress,
    error::{self, Error},
    http::{
        HttpState,
        extract::Json as Body,
        middleware::{auth::Caller, errors::Result},
        reply::progress,
    },
    types::ModelName,
};

/// Shortest time between two events about one file.
const PACE: Duration = Duration::from_millis(100);
/// Status of a download of which nothing is known yet.
const BEGINNING: &str = "pulling manifest";

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
    answer(state, caller, &name, body.stream.unwrap_or(true)).await
}

/// Downloads a model, and streams the progress or returns the last of it.
pub(in crate::http) async fn answer(
    state: Arc<HttpState>,
    caller: Caller,
    name: &ModelName,
    stream: bool,
) -> Result<Response> {
    let steps = state.app.pull_model(name).await?.map_ok(PullEvent::from);
    if stream {
        // A model that does not exist is an error with a status of its own.
        let has_begun = |event: &PullEvent| event.status != BEGINNING;
        let again = "pull the model again to continue";
        return progress::respond(state, caller, Box::pin(paced(steps)), has_begun, again).await;
    }
    Ok(Json(progress::last(Box::pin(steps)).await?).into_response())
}

/// Steps at a pace that a client can follow.
fn paced(
    steps: impl Stream<Item = error::Result<PullEvent>>,
) -> impl Stream<Item = error::Result<PullEvent>> {
    stream! {
        let mut steps = pin!(steps);
        while let Some(step) = steps.next().await {
            let is_within_file = matches!(&step, Ok(event) if event.completed < event.total);
            yield step;
            if is_within_file {
                sleep(PACE).await;
            }
        }
    }
}

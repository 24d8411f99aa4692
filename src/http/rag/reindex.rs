//! `/rag/collections/{name}/reindex`.

use std::sync::Arc;

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{collections::NameParam, named::Named};
use crate::{
    app::rag::Moved,
    http::{
        HttpState,
        extract::Json,
        middleware::{auth::Caller, errors::Result},
        reply::progress,
    },
    vectors::CollectionName,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ReindexBody {
    /// Model to move the collection to.
    embedding_model: String,
    /// Send progress as server-sent events. Otherwise the response is one JSON object at the end.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// Progress of a reindex. After a failure, the last event is named `error`, and its data is a problem.
#[derive(Clone, Serialize, ToSchema)]
pub(in crate::http) struct ReindexEvent {
    status: ReindexStatus,
    collection: String,
    /// Model that the collection is moved to.
    embedding_model: String,
    /// Documents of the collection.
    total: u64,
    /// Documents that have been moved.
    completed: u64,
    /// Chunks that this request has embedded.
    chunks_embedded: u64,
}

/// `success` at the end.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReindexStatus {
    Reindexing,
    Success,
}

impl ReindexEvent {
    fn new(status: ReindexStatus, name: &CollectionName, moved: Moved) -> Self {
        let Moved { embedding_model, documents, done, chunks } = moved;
        Self {
            status,
            collection: name.as_str().to_owned(),
            embedding_model,
            total: documents,
            completed: done,
            chunks_embedded: chunks,
        }
    }
}

/// Move a collection to another embedding model
///
/// All chunks are embedded again; until that is complete, searches use the old vectors. If the client disconnects or the
/// server stops, the next request for the same model continues. A request for the model that the collection already
/// uses discards an unfinished move to another one.
#[utoipa::path(post, path = "/rag/collections/{name}/reindex", tag = "Documents", params(NameParam),
    request_body(content = ReindexBody, example = json!({"embedding_model": "all-minilm"})),
    responses((status = 200, content((ReindexEvent = "application/json"), (ReindexEvent = "text/event-stream")))))]
pub(in crate::http) async fn reindex(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(name): Named<CollectionName>,
    Json(body, _room): Json<ReindexBody>,
) -> Result<Response> {
    let (app, asker) = (Arc::clone(&state.app), caller.owned());
    let steps = progress::of_work(|reports| async move {
        let step = |moved| reports.report(ReindexEvent::new(ReindexStatus::Reindexing, &name, moved));
        let moved = app.reindex(&asker, &name, &body.embedding_model, step).await?;
        Ok(ReindexEvent::new(ReindexStatus::Success, &name, moved))
    });
    if body.stream == Some(true) {
        return progress::respond(state, caller, steps, |_| true, "ask again to continue").await;
    }
    let last = steps.try_fold(None, async |_, step| Ok(Some(step))).await?;
    Ok(JsonReply(last).into_response())
}

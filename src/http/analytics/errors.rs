//! `/analytics/errors`: the latest failed requests.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Succeeded, within};
use crate::{
    http::{
        HttpState,
        extract::{Query, fields::Fields, filled},
        middleware::errors::Result,
    },
    telemetry::aggregates::FailureRecord,
};

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct ErrorsQuery {
    /// Maximum number of errors to return. Defaults to 10.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Set to `false` to leave out requests that were refused because they had no valid key.
    #[param(value_type = Option<bool>)]
    #[serde(default, deserialize_with = "filled")]
    unauthenticated: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ErrorsReply {
    status: Succeeded,
    /// Newest first.
    errors: Vec<ErrorBody>,
    count: usize,
}

#[derive(Serialize, ToSchema)]
struct ErrorBody {
    /// RFC 3339.
    timestamp: String,
    request_id: String,
    method: String,
    path: String,
    /// HTTP status. For a stream that broke off, the status that it started with.
    status: u16,
    /// One sentence, without any text from the caller or the backend.
    error: String,
    /// Same as `error_type` in the metrics.
    kind: String,
    /// Whether the request was refused because it had no valid key.
    unauthenticated: bool,
}

/// List recent errors
#[utoipa::path(get, path = "/analytics/errors", tag = "Analytics", params(ErrorsQuery),
    responses((status = 200, body = ErrorsReply)))]
pub(in crate::http) async fn errors(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<ErrorsQuery>,
) -> Result<Json<ErrorsReply>> {
    let limit = within("limit", query.limit.as_deref(), 1..=1000, 10)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut fields = Fields::default();
    let unauthenticated = fields.truth("/unauthenticated", query.unauthenticated.as_deref()).unwrap_or(true);
    fields.finish()?;
    let failures = state.app.failures(limit, unauthenticated).await;
    let errors: Vec<ErrorBody> = failures.into_iter().map(ErrorBody::from).collect();
    Ok(Json(ErrorsReply { status: Succeeded::Success, count: errors.len(), errors }))
}

impl From<FailureRecord> for ErrorBody {
    fn from(failure: FailureRecord) -> Self {
        let at = Timestamp::from_millisecond(failure.at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            timestamp: at.to_string(),
            request_id: failure.request_id,
            method: failure.method,
            path: failure.path,
            status: failure.status,
            error: failure.message,
            kind: failure.kind,
            unauthenticated: failure.unauthenticated,
        }
    }
}

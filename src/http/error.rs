//! From a kind of error to a status, in one table, and to RFC 9457 problem details. The details are
//! written in `observe`, which knows the request's id.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Kind};

/// An error on its way to the client.
pub(super) struct Failure(Error);

pub(super) type Result<T> = std::result::Result<T, Failure>;

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The error as an extension of its response, for `observe` to write and to log.
#[derive(Clone)]
pub(super) struct Reported(pub(super) Arc<Error>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = status(self.0.kind()).into_response();
        let headers = response.headers_mut();
        if self.0.kind() == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
        }
        if let Some(after) = self.0.retry_after_hint() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response.extensions_mut().insert(Reported(Arc::new(self.0)));
        response
    }
}

pub(super) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::BadGateway => StatusCode::BAD_GATEWAY,
        Kind::Unavailable | Kind::ShuttingDown | Kind::Setup => StatusCode::SERVICE_UNAVAILABLE,
        Kind::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// Always `about:blank`: the status identifies the kind of problem.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    /// One or two sentences: the problem, and what to do about it.
    detail: &'a str,
    request_id: &'a str,
    /// Invalid fields of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem<'a>>,
}

#[derive(Serialize, ToSchema)]
struct FieldProblem<'a> {
    /// RFC 6901 JSON pointer.
    pointer: &'a str,
    detail: &'a str,
}

impl<'a> Problem<'a> {
    pub(super) fn new(error: &'a Error, request_id: &'a str) -> Self {
        let status = status(error.kind());
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: error.message(),
            request_id,
            errors: error
                .field_errors()
                .iter()
                .map(|field| FieldProblem { pointer: &field.pointer, detail: &field.detail })
                .collect(),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a problem has only strings and numbers")
    }
}

/// For what still runs when the time for it is over.
pub(super) fn shutting_down() -> Error {
    let message = "The server is shutting down; try again in a moment.";
    Error::new(Kind::ShuttingDown, message).retry_after(Duration::from_secs(5))
}

pub(super) async fn not_found() -> Failure {
    nothing_here()
}

pub(super) fn nothing_here() -> Failure {
    Error::new(Kind::NotFound, "There is no such route; see /docs for the list of routes.").into()
}

pub(super) async fn method_not_allowed() -> Failure {
    Error::new(Kind::MethodNotAllowed, "This route does not support this method; see the Allow header.")
        .into()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> axum::http::Response<Body> {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let error = Error::new(Kind::Internal, "Internal error; search the server's log for the request id.");
    Failure(error.with_source(format!("panic: {message}"))).into_response()
}

/// Marks a header map as that of a problem.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::labels::{CLIENT_CLOSED, ERROR_TYPES, error_type};

    /// The alert in deploy/ counts what the service fails by its kind, since a stream that breaks off
    /// has status 200.
    #[test]
    fn prometheus_alerts_of_failures_and_not_of_refusals() {
        let kinds = [
            Kind::Malformed,
            Kind::Unauthorized,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::MethodNotAllowed,
            Kind::UnsupportedMediaType,
            Kind::TooLarge,
            Kind::RequestTimeout,
            Kind::Invalid,
            Kind::Busy,
            Kind::BadGateway,
            Kind::Unavailable,
            Kind::GatewayTimeout,
            Kind::ShuttingDown,
            Kind::Setup,
            Kind::Internal,
        ];
        let all = kinds.map(error_type);
        assert!(
            ERROR_TYPES.iter().all(|kind| all.contains(kind) || *kind == CLIENT_CLOSED),
            "none is forgotten"
        );
        let failures: Vec<&str> =
            kinds.into_iter().filter(|kind| status(*kind).is_server_error()).map(error_type).collect();
        let rules = include_str!("../../deploy/alerts.yml");
        let counted = format!("error_type=~\"{}\"", failures.join("|"));
        assert!(rules.contains(&counted), "{counted}");
    }
}

//! From a kind of error to a status, in one table, and to the format in which the route writes errors. They are
//! written in `observe`, which knows the route and the request's id.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    error::{Error, Kind},
    http::{
        anthropic::{self, AnthropicError},
        closed_set::words,
        ollama::OllamaError,
        openai::OpenAiError,
        reply::Framing,
    },
};

/// An error on its way to the client.
pub(in crate::http) struct Failure(Error);

pub(in crate::http) type Result<T> = std::result::Result<T, Failure>;

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The error as an extension of its response, for `observe` to write and to log.
#[derive(Clone)]
pub(in crate::http) struct Reported(pub(in crate::http) Arc<Error>);

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

pub(in crate::http) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Invalid | Kind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::BadGateway => StatusCode::BAD_GATEWAY,
        Kind::Unavailable | Kind::ShuttingDown | Kind::Setup => StatusCode::SERVICE_UNAVAILABLE,
        Kind::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Format in which a route writes errors: that of the API that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum ErrorFormat {
    /// Problem details (RFC 9457).
    Problem,
    OpenAi,
    Anthropic,
    Ollama,
}

impl ErrorFormat {
    /// Format for a request: that of its route. Paths of `/v1` that are no route, or a route of two APIs, belong to
    /// Anthropic's if the request has its header.
    pub(in crate::http) fn of_request(route: Option<Self>, path: &str, headers: &HeaderMap) -> Self {
        let is_shared = route.is_none() || is_of_both_apis(path);
        match route.unwrap_or_else(|| Self::of_path(path)) {
            Self::OpenAi if is_shared && headers.contains_key(anthropic::VERSION) => Self::Anthropic,
            errors => errors,
        }
    }

    /// Formats of a route: with this one that of the other API that it belongs to.
    pub(in crate::http) fn of_both_apis(self, template: &str) -> &'static [Self] {
        match self {
            Self::OpenAi if is_of_both_apis(template) => &[Self::OpenAi, Self::Anthropic],
            Self::OpenAi => &[Self::OpenAi],
            Self::Problem => &[Self::Problem],
            Self::Anthropic => &[Self::Anthropic],
            Self::Ollama => &[Self::Ollama],
        }
    }

    /// Format for a path that is no route, by the API that it would belong to.
    fn of_path(path: &str) -> Self {
        match path {
            _ if path == "/v1" || path.starts_with("/v1/") => Self::OpenAi,
            _ if path == "/api" || path.starts_with("/api/") => Self::Ollama,
            _ => Self::Problem,
        }
    }

    pub(in crate::http) fn content_type(self) -> &'static str {
        match self {
            Self::Problem => "application/problem+json",
            Self::OpenAi | Self::Anthropic | Self::Ollama => "application/json",
        }
    }

    /// Format of streams in the API that has these errors.
    pub(in crate::http) fn framing(self) -> Framing {
        match self {
            Self::Problem | Self::OpenAi | Self::Anthropic => Framing::Sse,
            Self::Ollama => Framing::Ndjson,
        }
    }

    pub(in crate::http) fn status(self, kind: Kind) -> StatusCode {
        match (self, status(kind)) {
            // Other vendors use 400 for an invalid field.
            (Self::OpenAi | Self::Ollama, StatusCode::UNPROCESSABLE_ENTITY) => StatusCode::BAD_REQUEST,
            (Self::Anthropic, status) => AnthropicError::status(kind).unwrap_or(status),
            (_, status) => status,
        }
    }

    pub(in crate::http) fn write(self, error: &Error, request_id: &str) -> Vec<u8> {
        match self {
            Self::Problem => serde_json::to_vec(&Problem::new(error, request_id)),
            Self::OpenAi => serde_json::to_vec(&OpenAiError::new(error, self.status(error.kind()))),
            Self::Anthropic => serde_json::to_vec(&AnthropicError::new(error, request_id)),
            Self::Ollama => serde_json::to_vec(&OllamaError::new(error)),
        }
        .expect("an error has only strings and numbers")
    }
}

/// Whether a path belongs to both OpenAI's API and Anthropic's.
fn is_of_both_apis(path: &str) -> bool {
    path.starts_with("/v1/models")
}

const ABOUT_BLANK: &str = "about:blank";

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Problem<'a> {
    /// The status identifies the kind of problem.
    #[schema(schema_with = about_blank)]
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

fn about_blank() -> RefOr<Schema> {
    words([ABOUT_BLANK])
}

impl<'a> Problem<'a> {
    fn new(error: &'a Error, request_id: &'a str) -> Self {
        let status = status(error.kind());
        Self {
            r#type: ABOUT_BLANK,
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
}

/// For what still runs when the time for it is over.
pub(in crate::http) fn shutting_down() -> Error {
    let message = "The server is shutting down; try again in a moment.";
    Error::new(Kind::ShuttingDown, message).retry_after(Duration::from_secs(5))
}

pub(in crate::http) async fn not_found() -> Failure {
    nothing_here()
}

pub(in crate::http) fn nothing_here() -> Failure {
    let message = "There is no such route; see /docs for the list of routes.";
    Error::new(Kind::NotFound, message).with_code("unknown_url").into()
}

pub(in crate::http) async fn method_not_allowed() -> Failure {
    Error::new(Kind::MethodNotAllowed, "This route does not support this method; see the Allow header.")
        .into()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(in crate::http) fn panicked(panic: Box<dyn Any + Send + 'static>) -> axum::http::Response<Body> {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let error = Error::new(Kind::Internal, "Internal error; search the server's log for the request id.");
    Failure(error.with_source(format!("panic: {message}"))).into_response()
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
            Kind::Unsupported,
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
        let rules = include_str!("../../../deploy/alerts.yml");
        let counted = format!("error_type=~\"{}\"", failures.join("|"));
        assert!(rules.contains(&counted), "{counted}");
    }

    #[test]
    fn errors_of_openais_api_have_its_types_and_codes() {
        use serde_json::{Value, json};

        let written = |error: &Error| -> Value {
            serde_json::from_slice(&ErrorFormat::OpenAi.write(error, "id")).expect("JSON")
        };
        let wrong = Error::field("/messages/0/content/12/text", "is wrong");
        assert_eq!(
            written(&wrong),
            json!({"error": {"message": "messages/0/content/12/text is wrong.", "type": "invalid_request_error", "param": "messages[0].content[12].text", "code": null}})
        );
        for (kind, status, r#type, code) in [
            (Kind::Malformed, 400, "invalid_request_error", Value::Null),
            (Kind::Invalid, 400, "invalid_request_error", Value::Null),
            (Kind::Unsupported, 400, "invalid_request_error", Value::Null),
            (Kind::Unauthorized, 401, "invalid_request_error", json!("invalid_api_key")),
            (Kind::NotFound, 404, "invalid_request_error", json!("model_not_found")),
            (Kind::TooLarge, 413, "invalid_request_error", Value::Null),
            (Kind::Busy, 429, "rate_limit_error", json!("rate_limit_exceeded")),
            (Kind::Unavailable, 503, "server_error", Value::Null),
            (Kind::BadGateway, 502, "server_error", Value::Null),
        ] {
            let error = written(&Error::new(kind, "No."));
            assert_eq!(
                (&error["error"]["type"], &error["error"]["code"], &error["error"]["param"]),
                (&json!(r#type), &code, &Value::Null)
            );
            assert_eq!(ErrorFormat::OpenAi.status(kind).as_u16(), status);
        }
    }

    #[test]
    fn errors_of_anthropics_api_have_its_types() {
        use serde_json::{Value, json};

        for (kind, status, r#type) in [
            (Kind::Malformed, 400, "invalid_request_error"),
            (Kind::Invalid, 400, "invalid_request_error"),
            (Kind::Unsupported, 400, "invalid_request_error"),
            (Kind::Unauthorized, 401, "authentication_error"),
            (Kind::Forbidden, 403, "permission_error"),
            (Kind::NotFound, 404, "not_found_error"),
            (Kind::TooLarge, 413, "request_too_large"),
            (Kind::Busy, 429, "rate_limit_error"),
            (Kind::Internal, 500, "api_error"),
            (Kind::BadGateway, 502, "api_error"),
            (Kind::GatewayTimeout, 504, "timeout_error"),
            (Kind::Unavailable, 529, "overloaded_error"),
            (Kind::ShuttingDown, 529, "overloaded_error"),
        ] {
            let written = ErrorFormat::Anthropic.write(&Error::new(kind, "No."), "id");
            let error: Value = serde_json::from_slice(&written).expect("JSON");
            let expected =
                json!({"type": "error", "error": {"type": r#type, "message": "No."}, "request_id": "id"});
            assert_eq!(error, expected);
            assert_eq!(ErrorFormat::Anthropic.status(kind).as_u16(), status);
        }
    }

    #[test]
    fn the_version_decides_about_paths_that_two_apis_share() {
        let anthropics = HeaderMap::from_iter([(anthropic::VERSION, HeaderValue::from_static("2023-06-01"))]);
        use ErrorFormat::{Anthropic, OpenAi, Problem};
        for (route, path, without, with) in [
            (Some(OpenAi), "/v1/models", OpenAi, Anthropic),
            (Some(OpenAi), "/v1/models/a", OpenAi, Anthropic),
            (Some(OpenAi), "/v1/chat/completions", OpenAi, OpenAi),
            (Some(Anthropic), "/v1/messages", Anthropic, Anthropic),
            (Some(Problem), "/models", Problem, Problem),
            (None, "/v1/messages/batches", OpenAi, Anthropic),
            (None, "/nothing", Problem, Problem),
        ] {
            let of = |headers: &HeaderMap| ErrorFormat::of_request(route, path, headers);
            assert_eq!((of(&HeaderMap::new()), of(&anthropics)), (without, with), "{path}");
        }
    }
}

//! Errors in Anthropic's envelope.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Kind};

/// Status for a service that cannot take the request now.
const OVERLOADED: u16 = 529;

/// An error as Anthropic's API writes it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnthropicError<'a> {
    r#type: AnthropicErrorObject,
    error: AnthropicErrorBody<'a>,
    request_id: &'a str,
}

/// Always `error`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AnthropicErrorObject {
    Error,
}

#[derive(Serialize, ToSchema)]
struct AnthropicErrorBody<'a> {
    r#type: AnthropicErrorType,
    message: &'a str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AnthropicErrorType {
    InvalidRequestError,
    AuthenticationError,
    PermissionError,
    NotFoundError,
    RequestTooLarge,
    RateLimitError,
    ApiError,
    TimeoutError,
    OverloadedError,
}

impl<'a> AnthropicError<'a> {
    pub(in crate::http) fn new(error: &'a Error, request_id: &'a str) -> Self {
        let r#type = error.kind().into();
        let error = AnthropicErrorBody { r#type, message: error.message() };
        Self { r#type: AnthropicErrorObject::Error, error, request_id }
    }

    /// Status for an error that has another one in the native API.
    pub(in crate::http) fn status(kind: Kind) -> Option<StatusCode> {
        match kind {
            Kind::Invalid | Kind::Unsupported => Some(StatusCode::BAD_REQUEST),
            Kind::Unavailable | Kind::ShuttingDown => StatusCode::from_u16(OVERLOADED).ok(),
            _ => None,
        }
    }
}

impl From<Kind> for AnthropicErrorType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Malformed
            | Kind::Invalid
            | Kind::Unsupported
            | Kind::MethodNotAllowed
            | Kind::UnsupportedMediaType
            | Kind::RequestTimeout => Self::InvalidRequestError,
            Kind::Unauthorized => Self::AuthenticationError,
            Kind::Forbidden => Self::PermissionError,
            Kind::NotFound => Self::NotFoundError,
            Kind::TooLarge => Self::RequestTooLarge,
            Kind::Busy => Self::RateLimitError,
            Kind::Unavailable | Kind::ShuttingDown => Self::OverloadedError,
            Kind::GatewayTimeout => Self::TimeoutError,
            Kind::BadGateway | Kind::Setup | Kind::Internal => Self::ApiError,
        }
    }
}

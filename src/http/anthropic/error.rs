//! Errors in Anthropic's envelope.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{CONTEXT_LENGTH_EXCEEDED, Error, Kind};

/// Status for a service that cannot take the request now.
const OVERLOADED: u16 = 529;
/// Code of a request in a thread, without which clients then continue.
pub(super) const THREAD_UNSUPPORTED: &str = "thread_unsupported_request";

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
    message: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<AnthropicErrorDetails>,
}

/// The fault for programs, for those that clients know how to continue after.
#[derive(Serialize, ToSchema)]
struct AnthropicErrorDetails {
    error_code: &'static str,
    /// Fields that are not supported.
    unsupported: [&'static str; 1],
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
        let details = (error.code() == Some(THREAD_UNSUPPORTED))
            .then_some(AnthropicErrorDetails { error_code: THREAD_UNSUPPORTED, unsupported: ["thread"] });
        let error = AnthropicErrorBody { r#type, message: message(error), details };
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

/// Prompts that are too long are refused in Anthropic's words, by which clients recognize it.
fn message(error: &Error) -> Cow<'_, str> {
    let told = error.message();
    match (error.context_exceeded(), error.code()) {
        (Some((tokens, maximum)), _) => {
            format!("prompt is too long: {tokens} tokens > {maximum} maximum; {told}").into()
        }
        (None, Some(CONTEXT_LENGTH_EXCEEDED)) => format!("prompt is too long: {told}").into(),
        _ => told.into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_too_long_is_refused_in_anthropics_words() {
        let refusal = Error::field("/messages", "is long");
        for (error, expected) in [
            (
                refusal.clone().over_context(60, 50),
                "prompt is too long: 60 tokens > 50 maximum; messages is long.",
            ),
            (refusal.clone().with_code(CONTEXT_LENGTH_EXCEEDED), "prompt is too long: messages is long."),
            (refusal, "messages is long."),
        ] {
            assert_eq!(message(&error), expected);
        }
    }
}

//! Errors in OpenAI's envelope.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Kind};

/// An error as OpenAI's API writes it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OpenAiError {
    error: OpenAiErrorBody,
}

#[derive(Serialize, ToSchema)]
struct OpenAiErrorBody {
    message: String,
    r#type: OpenAiErrorType,
    /// The field that is wrong, such as `messages[0].content`.
    #[schema(required)]
    param: Option<String>,
    #[schema(required)]
    code: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
enum OpenAiErrorType {
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    #[serde(rename = "rate_limit_error")]
    RateLimit,
    #[serde(rename = "server_error")]
    Server,
}

impl OpenAiError {
    pub(in crate::http) fn new(error: &Error, status: StatusCode) -> Self {
        let r#type = match error.kind() {
            Kind::Busy => OpenAiErrorType::RateLimit,
            _ if status.is_server_error() => OpenAiErrorType::Server,
            _ => OpenAiErrorType::InvalidRequest,
        };
        let code = match error.kind() {
            Kind::Unauthorized => Some("invalid_api_key"),
            Kind::NotFound => error.code().or(Some("model_not_found")),
            Kind::Busy => Some("rate_limit_exceeded"),
            _ => error.code(),
        };
        let param = error.field_errors().first().map(|field| param(&field.pointer));
        let param = param.filter(|param| !param.is_empty());
        Self { error: OpenAiErrorBody { message: error.message().to_owned(), r#type, param, code } }
    }

    /// Message, code and parameter.
    pub(super) fn into_parts(self) -> (String, Option<&'static str>, Option<String>) {
        let OpenAiErrorBody { message, param, code, .. } = self.error;
        (message, code, param)
    }
}

/// `/messages/0/content` is `messages[0].content`.
fn param(pointer: &str) -> String {
    let mut param = String::new();
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            param.extend(["[", part, "]"]);
        } else {
            let dot = if param.is_empty() { "" } else { "." };
            param.extend([dot, &part.replace("~1", "/").replace("~0", "~")]);
        }
    }
    param
}

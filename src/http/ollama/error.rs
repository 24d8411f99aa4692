//! Errors in Ollama's envelope, and in its words where clients look for them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Kind};

/// An error as Ollama's API writes it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaError<'a> {
    error: &'a str,
}

impl<'a> OllamaError<'a> {
    pub(in crate::http) fn new(error: &'a Error) -> Self {
        Self { error: error.message() }
    }
}

/// Puts the failure of a request to a model into the words that Ollama's clients recognize.
pub(super) fn in_ollamas_words(error: Error, model: &str) -> Error {
    let lacking = match error.field_errors() {
        [field] if field.detail.starts_with("is not supported") => match field.pointer.as_str() {
            "/think" => Some("thinking"),
            "/suffix" => Some("insert"),
            _ => None,
        },
        _ => None,
    };
    if let Some(lacking) = lacking {
        return Error::new(Kind::Invalid, format!("\"{model}\" does not support {lacking}"))
            .with_source(error);
    }
    match error.kind() {
        Kind::NotFound => Error::new(Kind::NotFound, format!("model '{model}' not found")).with_source(error),
        _ => error.at(|pointer| match pointer {
            "/max_tokens" => "/options/num_predict".to_owned(),
            "/logit_bias" => "/options".to_owned(),
            _ => pointer.to_owned(),
        }),
    }
}

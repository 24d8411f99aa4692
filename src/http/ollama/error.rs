//! Errors in Ollama's envelope.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

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

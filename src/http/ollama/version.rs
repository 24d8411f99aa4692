//! `/api/version`, and how clients of Ollama ask whether it runs.

use axum::{
    Json,
    http::{HeaderMap, header},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Version of Ollama whose API this is. Clients compare it with the oldest one that they support.
const API_VERSION: &str = "0.32.15";

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OllamaVersion {
    /// Version of Ollama whose API is served, not of Simpleton.
    version: &'static str,
}

/// Get the version of the API (Ollama)
#[utoipa::path(get, path = "/api/version", tag = "Ollama", responses((status = 200, body = OllamaVersion)))]
pub(in crate::http) async fn version() -> Json<OllamaVersion> {
    Json(OllamaVersion { version: API_VERSION })
}

/// Whether this is a request for `/` by a client of Ollama's: its own libraries say so in `User-Agent`, and other
/// programs ask for plain text.
pub(in crate::http) fn asks_whether_it_runs(headers: &HeaderMap) -> bool {
    let begins = |name, beginning: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    begins(header::USER_AGENT, "ollama") || begins(header::ACCEPT, "text/plain")
}

//! The service about itself: `/`, `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{HttpState, accept::weight, ollama::asks_whether_it_runs};
use crate::telemetry::metrics::TextFormat;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize, ToSchema)]
pub(super) struct RootReply {
    service: &'static str,
    version: &'static str,
    description: &'static str,
    docs: &'static str,
    health: &'static str,
}

/// Get information about the service
///
/// Browsers are redirected to `/dashboard`. Ollama's clients, and requests whose `Accept` begins with `text/plain`, get
/// `Ollama is running`.
#[utoipa::path(get, path = "/", tag = "Service",
    responses(
        (status = 200, content((RootReply = "application/json"), (String = "text/plain"))),
        (status = 303, description = "Redirect of a browser to the dashboard")))]
pub(super) async fn root(headers: HeaderMap) -> Response {
    let reply = match () {
        () if asks_whether_it_runs(&headers) => "Ollama is running".into_response(),
        () if prefers_html(accept(&headers)) => Redirect::to("/dashboard").into_response(),
        () => Json(RootReply::THIS).into_response(),
    };
    ([(header::VARY, "accept, user-agent")], reply).into_response()
}

impl RootReply {
    const THIS: Self = Self {
        service: "Simpleton LLM Service",
        version: VERSION,
        description: env!("CARGO_PKG_DESCRIPTION"),
        docs: "/docs",
        health: "/health",
    };
}

fn accept(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

/// Get Prometheus metrics, as OpenMetrics if the `Accept` header asks for it
#[utoipa::path(get, path = "/metrics", tag = "Service",
    responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text")))))]
pub(super) async fn metrics(State(state): State<Arc<HttpState>>, headers: HeaderMap) -> Response {
    let format = text_format(accept(&headers));
    ([(header::CONTENT_TYPE, format.content_type())], state.app.render_metrics(format).await).into_response()
}

/// OpenMetrics when the client names it and likes nothing of ours better (RFC 9110, 12.5.1).
fn text_format(accept: &str) -> TextFormat {
    let open = weight(accept, "application/openmetrics-text").unwrap_or(0.0);
    let plain = ["text/plain", "text/*", "*/*"].iter().find_map(|range| weight(accept, range));
    if open > 0.0 && open >= plain.unwrap_or(0.0) { TextFormat::OpenMetrics } else { TextFormat::Prometheus }
}

/// Whether this is a browser: it names HTML, and likes JSON less.
fn prefers_html(accept: &str) -> bool {
    let html = weight(accept, "text/html").unwrap_or(0.0);
    html > weight(accept, "application/json").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_browsers_prefer_html() {
        for (accept, html) in [
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0", false),
            ("text/html", true),
            ("text/html, */*", true),
            ("text/html,application/json;q=0.9", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
        ] {
            assert_eq!(prefers_html(accept), html, "{accept}");
        }
    }

    #[test]
    fn metrics_come_in_the_format_that_the_client_likes_better() {
        for (accept, open) in [
            ("", false),
            ("*/*", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0; Q=0.1", true),
            ("application/openmetrics-text,*/*;q=0.8", true),
            ("application/openmetrics-text, text/plain", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=0.5,*/*", false),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*", true),
            ("text/plain;q=0.9,application/openmetrics-text;q=0.1", false),
            // Prometheus 2 and 3
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                true,
            ),
        ] {
            assert_eq!(matches!(text_format(accept), TextFormat::OpenMetrics), open, "{accept}");
        }
    }
}

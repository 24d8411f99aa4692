//! Cross-origin requests (`CORS_ORIGINS`). Keys are sent in headers, so that no page
//! can use what a browser keeps.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Time for which a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The layer that answers browsers' questions; none when no origin is allowed.
pub(in crate::http) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let named = |name| HeaderName::from_static(name);
    let list = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let allowed =
        if origins.iter().any(|origin| origin == "*") { AllowOrigin::any() } else { AllowOrigin::list(list) };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            named("x-api-key"),
            named("x-request-id"),
            named("traceparent"),
            named("tracestate"),
            named("anthropic-version"),
            named("anthropic-beta"),
            named("anthropic-dangerous-direct-browser-access"),
        ])
        .expose_headers([
            header::AGE,
            header::ALLOW,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            named("cache-status"),
            named("x-request-id"),
            named("request-id"),
            named("x-simpleton-ignored"),
        ])
        .max_age(MAX_AGE);
    Some(layer)
}

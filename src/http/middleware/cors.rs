//! Cross-origin requests (`CORS_ORIGINS`). Keys are sent in headers, so that no page
//! can use what a browser keeps.

use std::time::Duration;

use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

/// Time for which a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The layer that answers browsers' questions; none when no origin is allowed.
pub(in crate::http) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let list = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let allowed =
        if origins.iter().any(|origin| origin == "*") { AllowOrigin::any() } else { AllowOrigin::list(list) };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // SDKs send headers of their own, which change with their versions; only the key gives access.
        .allow_headers(AllowHeaders::mirror_request())
        // The star stands for all headers, because requests have no credentials in the sense of browsers.
        .expose_headers(ExposeHeaders::any())
        .max_age(MAX_AGE);
    Some(layer)
}

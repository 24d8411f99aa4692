//! The HTTP edge. This page has all routes and all layers; the files beside it have one group of
//! handlers each. A handler extracts, calls the app, and renders.

mod analytics;
mod body;
mod body_memory;
mod cached;
mod caller;
mod connection;
mod connections;
mod content;
mod cors;
mod docs;
mod embeddings;
mod error;
mod exchange;
mod extract;
mod fields;
mod health;
mod images;
mod inference;
mod message;
mod multipart;
mod nearest;
mod object;
mod observe;
mod server;
mod service;
mod silence;
mod socket;
mod stream;
mod texts;
mod vision;
mod warning;
mod worker;
mod wrong_field;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub use self::{
    body_memory::BodyMemory,
    connections::ConnectionLimits,
    docs::openapi,
    server::{Bounds, serve},
    silence::StreamTimes,
};
use crate::{
    app::{App, keys::Keys},
    telemetry::labels::{Purpose, RouteLabel},
};

/// Everything a handler may need, built once.
pub struct HttpState {
    pub app: Arc<App>,
    pub keys: Keys,
    /// Bytes that a request's body may have.
    pub max_body: usize,
    pub body_memory: BodyMemory,
    /// How long a client may pause while it sends its request.
    pub request_timeout: Duration,
    /// Whether `PUBLIC_FIGURES` need a key, too.
    pub analytics_require_key: bool,
    /// Whose web pages may use the API, `*` for all.
    pub cors_origins: Vec<String>,
    pub streams: StreamTimes,
    /// Cancelled when the time for running replies is over.
    pub cutoff: CancellationToken,
}

/// The routes that need no key; every other needs one.
const PUBLIC: [&str; 8] = [
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/docs",
    "/docs/{file}",
    "/openapi.json",
    "/analytics/health",
];

/// Those that need none unless a setting says so.
const PUBLIC_FIGURES: [&str; 3] = ["/metrics", "/analytics/stats", "/analytics/alerts"];

/// All routes. The template is what metrics, logs and documentation call the route; its purpose says
/// whether requests to it count among those to the API or apart.
fn routes() -> [(&'static str, Purpose, MethodRouter<Arc<HttpState>>); 25] {
    use Purpose::{Api, Service};
    [
        // Service
        ("/", Service, get(service::root)),
        ("/health", Service, get(health::health)),
        ("/health/live", Service, get(health::live)),
        ("/health/ready", Service, get(health::ready)),
        ("/metrics", Service, get(service::metrics)),
        // Documentation
        ("/openapi.json", Service, get(docs::openapi_json)),
        ("/docs", Service, get(docs::page)),
        ("/docs/{file}", Service, get(docs::file)),
        // Models
        ("/models", Api, get(service::models)),
        // Inference
        ("/inference/generate", Api, post(inference::generate)),
        ("/inference/chat", Api, post(inference::chat)),
        // Embeddings
        ("/embeddings/", Api, post(embeddings::embed)),
        ("/embeddings/batch", Api, post(embeddings::batch)),
        // Vision
        ("/vision/analyze", Api, post(vision::analyze)),
        ("/vision/caption", Api, post(vision::caption)),
        ("/vision/ocr", Api, post(vision::ocr)),
        ("/vision/upload", Api, post(vision::upload)),
        // Analytics
        ("/analytics/stats", Service, get(analytics::stats::stats)),
        ("/analytics/errors", Service, get(analytics::errors::errors)),
        ("/analytics/alerts", Service, get(analytics::alerts::alerts)),
        ("/analytics/usage", Service, get(analytics::usage::usage)),
        ("/analytics/series", Service, get(analytics::series::series)),
        ("/analytics/live", Service, get(analytics::live::live)),
        ("/analytics/health", Service, get(analytics::health::health)),
        ("/analytics/cache", Service, get(analytics::cache::cache).delete(analytics::cache::clear_cache)),
    ]
}

/// All routes as they are counted.
pub fn route_labels() -> Vec<RouteLabel> {
    routes().into_iter().map(|(template, purpose, _)| RouteLabel { template, purpose }).collect()
}

/// The routes with all layers around them.
pub fn router(state: Arc<HttpState>) -> Router {
    let mut router = Router::new();
    for (template, _, methods) in routes() {
        router = router.route(template, methods.clone());
        // A path answers with and without its trailing slash, and never by a redirect.
        match template.strip_suffix('/') {
            Some("") => {}
            Some(without) => router = router.route(without, methods),
            None => router = router.route(&format!("{template}/"), methods),
        }
    }
    let router = router.fallback(error::not_found).method_not_allowed_fallback(error::method_not_allowed);
    layers(router, state)
}

/// Outermost first, and as one: axum boxes what each call of `layer` makes, and clones all boxes
/// within it for each request.
fn layers(router: Router<Arc<HttpState>>, state: Arc<HttpState>) -> Router {
    let cors = cors::layer(&state.cors_origins);
    let layers = (
        // The one place that sees every request and every reply to its last byte. It lets nobody pass
        // without a key, before a byte of the body is read.
        from_fn_with_state(Arc::clone(&state), observe::observe),
        // A bug in a handler costs one request, and is counted and logged like any other failure.
        CatchPanicLayer::custom(error::panicked),
    );
    let router = router.layer(layers).with_state(state);
    // Outside, because browsers ask without a key, and read refusals only with its headers.
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

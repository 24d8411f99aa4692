//! The HTTP edge. This page has all routes and all layers; the files beside it have one group of
//! handlers each. A handler extracts, calls the app, and renders.

mod accept;
mod analytics;
mod anthropic;
mod closed_set;
mod dashboard;
mod docs;
mod extract;
mod health;
mod ignored;
mod middleware;
mod native;
mod ollama;
mod openai;
mod rag;
mod reply;
mod route;
mod server;
mod service;
mod settings;
mod v1_models;
mod warning;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::routes;

pub(crate) use self::native::models::{DetailedModelReply, ModelsReply};
pub use self::{
    analytics::live::LiveStreams,
    dashboard::Files,
    docs::openapi,
    extract::BodyMemory,
    reply::StreamTimes,
    server::{Bounds, ConnectionLimits, serve},
};
use self::{
    middleware::{
        cors,
        errors::{self, ErrorFormat},
        observe,
    },
    native::{documents, embeddings, inference, models, pull, suggested, vision},
    route::{Access, BACKEND, MODEL, REGISTRY, Route},
};
use crate::{
    app::{App, keys::Keys},
    config::ShownSetting,
    error::Kind,
    telemetry::labels::{Purpose, RouteLabel},
};

/// Everything a handler may need, built once.
pub struct HttpState {
    pub app: Arc<App>,
    pub keys: Arc<Keys>,
    pub settings: Vec<ShownSetting>,
    pub dashboard: Files,
    /// Bytes that a request's body may have.
    pub max_body: usize,
    pub body_memory: BodyMemory,
    /// How long a client may pause while it sends its request.
    pub request_timeout: Duration,
    /// Whether routes with `Access::Statistics` need a key.
    pub analytics_require_key: bool,
    /// Whose web pages may use the API, `*` for all.
    pub cors_origins: Vec<String>,
    pub streams: StreamTimes,
    pub live_streams: LiveStreams,
    /// Cancelled when the time for running replies is over.
    pub cutoff: CancellationToken,
}

/// All routes, a line each: the template, which is also what metrics and logs call the route; whether its
/// requests count among those to the API or apart; who may use it; how it writes errors; its handlers,
/// whose documentation `/openapi.json` is made of; and errors that do not follow from these.
fn routes() -> Vec<Route> {
    use self::{
        Access::{Key, Public, Statistics},
        ErrorFormat::{Anthropic, Ollama, OpenAi, Problem},
    };
    use Purpose::{Api, Service};
    vec![
        // Service
        Route::new("/", Service, Public, Problem, routes!(service::root)),
        Route::new("/health", Service, Public, Problem, routes!(health::health)),
        Route::new("/health/live", Service, Public, Problem, routes!(health::live)),
        Route::new("/health/ready", Service, Public, Problem, routes!(health::ready)),
        Route::new("/metrics", Service, Statistics, Problem, routes!(service::metrics)),
        Route::new("/settings", Service, Key, Problem, routes!(settings::settings)),
        // Dashboard
        Route::page("/dashboard", get(dashboard::index)),
        Route::page("/dashboard/{*path}", get(dashboard::file)),
        Route::new(
            "/dashboard/session",
            Service,
            Public,
            Problem,
            routes!(dashboard::session::create, dashboard::session::remove),
        )
        .with_errors(&[Kind::Unauthorized]),
        // Documentation
        Route::page("/openapi.json", get(docs::openapi_json)),
        Route::page("/docs", get(docs::page)),
        Route::page("/docs/{file}", get(docs::file)),
        // Models
        Route::new("/models", Api, Key, Problem, routes!(models::models)).with_errors(BACKEND),
        Route::new("/models/loaded", Service, Key, Problem, routes!(models::loaded)).with_errors(BACKEND),
        Route::new("/models/suggested", Service, Key, Problem, routes!(suggested::suggested))
            .with_errors(BACKEND),
        Route::new("/models/pull", Service, Key, Problem, routes!(pull::pull)).with_errors(REGISTRY),
        Route::new("/models/{name}", Service, Key, Problem, routes!(models::details, models::remove))
            .with_errors(BACKEND),
        Route::new("/models/{name}/load", Service, Key, Problem, routes!(models::load)).with_errors(MODEL),
        Route::new("/models/{name}/unload", Service, Key, Problem, routes!(models::unload))
            .with_errors(MODEL),
        // Inference
        Route::new("/inference/generate", Api, Key, Problem, routes!(inference::generate)).with_errors(MODEL),
        Route::new("/inference/chat", Api, Key, Problem, routes!(inference::chat)).with_errors(MODEL),
        // OpenAI's API
        Route::new("/v1/chat/completions", Api, Key, OpenAi, routes!(openai::chat::create))
            .with_errors(MODEL),
        Route::new("/v1/completions", Api, Key, OpenAi, routes!(openai::completions::create))
            .with_errors(MODEL),
        Route::new("/v1/embeddings", Api, Key, OpenAi, routes!(openai::embeddings::create))
            .with_errors(MODEL),
        Route::new("/v1/responses", Api, Key, OpenAi, routes!(openai::responses::create::create))
            .with_errors(MODEL),
        Route::new(
            "/v1/responses/{id}",
            Api,
            Key,
            OpenAi,
            routes!(openai::responses::stored::retrieve, openai::responses::stored::remove),
        ),
        Route::new("/v1/responses/{id}/cancel", Api, Key, OpenAi, routes!(openai::responses::stored::cancel)),
        Route::new(
            "/v1/responses/{id}/input_items",
            Api,
            Key,
            OpenAi,
            routes!(openai::responses::stored::input_items),
        ),
        // Anthropic's API
        Route::new("/v1/messages", Api, Key, Anthropic, routes!(anthropic::messages::create))
            .with_errors(MODEL),
        Route::new("/v1/messages/count_tokens", Api, Key, Anthropic, routes!(anthropic::count::count))
            .with_errors(MODEL),
        // Both APIs
        Route::new("/v1/models", Api, Key, OpenAi, routes!(v1_models::list)).with_errors(BACKEND),
        Route::new("/v1/models/{name}", Api, Key, OpenAi, routes!(v1_models::details)).with_errors(BACKEND),
        // Ollama's API
        Route::new("/api/generate", Api, Key, Ollama, routes!(ollama::generate::generate)).with_errors(MODEL),
        Route::new("/api/chat", Api, Key, Ollama, routes!(ollama::chat::chat)).with_errors(MODEL),
        Route::new("/api/embed", Api, Key, Ollama, routes!(ollama::embed::embed)).with_errors(MODEL),
        Route::new("/api/embeddings", Api, Key, Ollama, routes!(ollama::embed::embeddings))
            .with_errors(MODEL),
        Route::new("/api/tags", Api, Key, Ollama, routes!(ollama::models::tags)).with_errors(BACKEND),
        Route::new("/api/show", Api, Key, Ollama, routes!(ollama::show::show)).with_errors(MODEL),
        Route::new("/api/ps", Service, Key, Ollama, routes!(ollama::models::ps)).with_errors(BACKEND),
        Route::new("/api/pull", Service, Key, Ollama, routes!(ollama::pull::pull)).with_errors(REGISTRY),
        Route::new("/api/copy", Service, Key, Ollama, routes!(ollama::manage::copy)).with_errors(MODEL),
        Route::new("/api/delete", Service, Key, Ollama, routes!(ollama::manage::delete)).with_errors(MODEL),
        Route::new("/api/create", Service, Key, Ollama, routes!(ollama::create::create)).with_errors(MODEL),
        Route::new(
            "/api/blobs/{digest}",
            Service,
            Key,
            Ollama,
            routes!(ollama::blobs::exists, ollama::blobs::upload),
        ),
        Route::new("/api/version", Service, Key, Ollama, routes!(ollama::version::version)),
        // Embeddings
        Route::new("/embeddings/", Api, Key, Problem, routes!(embeddings::embed)).with_errors(MODEL),
        Route::new("/embeddings/batch", Api, Key, Problem, routes!(embeddings::batch)).with_errors(MODEL),
        // Vision
        Route::new("/vision/analyze", Api, Key, Problem, routes!(vision::analyze)).with_errors(MODEL),
        Route::new("/vision/caption", Api, Key, Problem, routes!(vision::caption)).with_errors(MODEL),
        Route::new("/vision/ocr", Api, Key, Problem, routes!(vision::ocr)).with_errors(MODEL),
        Route::new("/vision/upload", Api, Key, Problem, routes!(vision::upload)).with_errors(MODEL),
        // Documents
        Route::new("/documents/parse", Api, Key, Problem, routes!(documents::parse)),
        Route::new("/rag/ingest", Api, Key, Problem, routes!(rag::ingest::ingest)).with_errors(MODEL),
        Route::new("/rag/upload", Api, Key, Problem, routes!(rag::upload::upload)).with_errors(MODEL),
        Route::new("/rag/search", Api, Key, Problem, routes!(rag::search::search)).with_errors(MODEL),
        Route::new("/rag/query", Api, Key, Problem, routes!(rag::query::query)).with_errors(MODEL),
        Route::new("/rag/collections", Api, Key, Problem, routes!(rag::collections::list)),
        Route::new(
            "/rag/collections/{name}",
            Service,
            Key,
            Problem,
            routes!(rag::collections::details, rag::collections::remove),
        ),
        Route::new("/rag/collections/{name}/reindex", Service, Key, Problem, routes!(rag::reindex::reindex))
            .with_errors(MODEL),
        Route::new("/rag/documents", Api, Key, Problem, routes!(rag::documents::list))
            .with_errors(&[Kind::NotFound]),
        Route::new(
            "/rag/documents/{id}",
            Api,
            Key,
            Problem,
            routes!(rag::documents::details, rag::documents::remove),
        ),
        Route::new("/rag/documents/{id}/content", Api, Key, Problem, routes!(rag::documents::content)),
        // Analytics
        Route::new("/analytics/stats", Service, Statistics, Problem, routes!(analytics::stats::stats)),
        Route::new("/analytics/errors", Service, Key, Problem, routes!(analytics::errors::errors)),
        Route::new("/analytics/alerts", Service, Statistics, Problem, routes!(analytics::alerts::alerts)),
        Route::new("/analytics/usage", Service, Key, Problem, routes!(analytics::usage::usage)),
        Route::new("/analytics/series", Service, Key, Problem, routes!(analytics::series::series)),
        Route::new("/analytics/live", Service, Key, Problem, routes!(analytics::live::live))
            .with_errors(&[Kind::Busy]),
        Route::new("/analytics/health", Service, Public, Problem, routes!(analytics::health::health)),
        Route::new(
            "/analytics/cache",
            Service,
            Key,
            Problem,
            routes!(analytics::cache::cache, analytics::cache::clear_cache),
        ),
    ]
}

/// All routes as they are counted.
pub fn route_labels() -> Vec<RouteLabel> {
    let label = |Route { template, purpose, .. }| RouteLabel { template, purpose };
    routes().into_iter().map(label).collect()
}

/// The routes with all layers around them.
pub fn router(state: Arc<HttpState>) -> Router {
    let mut router = Router::new();
    for Route { template, methods, .. } in routes() {
        router = router.route(template, methods.clone());
        // A path answers with and without its trailing slash, and never by a redirect.
        match template.strip_suffix('/') {
            Some("") => {}
            None if template.ends_with("{*path}") => {}
            Some(without) => router = router.route(without, methods),
            None => router = router.route(&format!("{template}/"), methods),
        }
    }
    let router = router.fallback(errors::not_found).method_not_allowed_fallback(errors::method_not_allowed);
    layers(router, state)
}

/// Outermost first, and as one: axum boxes what each call of `layer` makes, and clones all boxes
/// within it for each request.
fn layers(router: Router<Arc<HttpState>>, state: Arc<HttpState>) -> Router {
    let cors = cors::layer(&state.cors_origins);
    let layers = (
        // The one place that sees every request and every reply to its last byte. It rejects requests without a
        // key before a byte of the body is read.
        from_fn_with_state(Arc::clone(&state), observe::observe),
        // A bug in a handler costs one request, and is counted and logged like any other failure.
        CatchPanicLayer::custom(errors::panicked),
    );
    let router = router.layer(layers).with_state(state);
    // Outside, because browsers ask without a key, and read refusals only with its headers.
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

//! Who is asking. Runs before any handler and before the body is read.

use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{Edge, PUBLIC, PUBLIC_FIGURES, error::Result};
use crate::{
    app,
    cache::Directives,
    error::{Error, Kind},
    telemetry::observation::Observation,
};

/// The caller of a route that needs a key.
pub(super) struct Caller(app::Caller);

impl Deref for Caller {
    type Target = app::Caller;

    fn deref(&self) -> &app::Caller {
        &self.0
    }
}

pub(super) async fn require_key(
    State(edge): State<Arc<Edge>>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let observation: &Arc<Observation> = request.extensions().get().expect("observe is around every route");
    let presented = presented(request.headers());
    let known = presented.and_then(|key| edge.keys.find(key));
    if let Some(key) = known {
        observation.key(key);
    }
    // A path that is no route is a 404 whoever asks: there is nothing behind it to protect.
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(next.run(request).await) };
    let endpoint = edge.app.monitoring.metrics.endpoint(Some(path.as_str()));
    let open = PUBLIC_FIGURES.contains(&endpoint) && !edge.analytics_require_key;
    if !PUBLIC.contains(&endpoint) && !open {
        let Some(key) = known else {
            return Err(unauthorized(match presented {
                Some(_) => "The API key is wrong.",
                None => "No API key was sent; send it in the header X-API-Key, or in Authorization as a bearer token.",
            })
            .into());
        };
        let (observation, directives) = (Arc::clone(observation), directives(request.headers()));
        request.extensions_mut().insert(app::Caller { key, endpoint, directives, observation });
    }
    Ok(next.run(request).await)
}

/// The key that was sent. `X-API-Key` counts when both headers are there: client libraries fill in
/// `Authorization` by themselves.
fn presented(headers: &HeaderMap) -> Option<&str> {
    match headers.get("x-api-key") {
        Some(key) => key.to_str().ok(),
        None => {
            let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        }
    }
}

/// The request's `Cache-Control`. What is not understood is passed over, as RFC 9111 has it.
fn directives(headers: &HeaderMap) -> Directives {
    let mut directives = Directives::default();
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" => directives.no_cache = true,
            "no-store" => directives.no_store = true,
            "max-age" => {
                directives.max_age = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
            }
            _ => {}
        }
    }
    directives
}

fn unauthorized(message: &str) -> Error {
    Error::new(Kind::Unauthorized, message)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned().expect("require_key lets no one else pass")))
    }
}

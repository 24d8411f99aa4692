//! Who is asking. Found out before any handler runs and before the body is read.

use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request},
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use super::{Edge, PUBLIC, PUBLIC_FIGURES};
use crate::{
    app,
    cache::Directives,
    error::{self, Error, Kind},
    telemetry::observation::Observation,
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The caller of a route that needs a key.
pub(super) struct Caller(app::Caller);

impl Deref for Caller {
    type Target = app::Caller;

    fn deref(&self) -> &app::Caller {
        &self.0
    }
}

/// Lets a request pass that may, with its caller when it has to have one.
///
/// # Errors
/// `Unauthorized` without a key, or with a wrong one, where one is needed.
pub(super) fn admit(edge: &Edge, request: &mut Request, observation: &Arc<Observation>) -> error::Result<()> {
    let presented = presented(request.headers());
    let known = presented.and_then(|key| edge.keys.find(key));
    if let Some(key) = known {
        observation.key(key);
    }
    let endpoint = observation.endpoint();
    let open = PUBLIC.contains(&endpoint)
        || (PUBLIC_FIGURES.contains(&endpoint) && !edge.analytics_require_key)
        // A path that is no route is a 404 whoever asks: there is nothing behind it to protect.
        || request.extensions().get::<MatchedPath>().is_none();
    if open {
        return Ok(());
    }
    let Some(key) = known else {
        return Err(unauthorized(match presented {
            Some(_) => "The API key is wrong.",
            None => {
                "No API key was sent; send it in the header X-API-Key, or in Authorization as a bearer token."
            }
        }));
    };
    let directives = directives(request.headers());
    let caller = app::Caller { key, endpoint, directives, observation: Arc::clone(observation) };
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The key that was sent. `X-API-Key` counts when both headers are there: client libraries fill in
/// `Authorization` by themselves.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    match headers.get(&API_KEY) {
        Some(key) => Some(key.as_bytes()),
        None => {
            let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
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
        Ok(Self(parts.extensions.get().cloned().expect("nobody else is let pass")))
    }
}

//! Authentication, before any handler runs and before the body is read.

use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};

use crate::{
    app,
    cache::CacheControl,
    error::{self, Error, Kind},
    http::{
        HttpState,
        middleware::errors::ErrorFormat,
        route::{self, Access},
    },
    telemetry::recorder::RequestRecorder,
    types::Principal,
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The caller of a route that needs a key.
pub(in crate::http) struct Caller(app::Caller);

impl Caller {
    /// For what goes on after the handler.
    pub(in crate::http) fn owned(&self) -> app::Caller {
        self.0.clone()
    }
}

impl Deref for Caller {
    type Target = app::Caller;

    fn deref(&self) -> &app::Caller {
        &self.0
    }
}

/// Key of an authenticated request; no other request's body is read.
pub(in crate::http) fn principal_of(request: &Request) -> Principal {
    request.extensions().get::<app::Caller>().expect("nobody else is let pass").principal
}

/// Lets a request pass that may, with its caller when it has to have one.
///
/// # Errors
/// `Unauthorized` without a key, or with a wrong one, and `Malformed` with two, where one is needed.
pub(in crate::http) fn admit(
    state: &HttpState,
    request: &mut Request,
    recorder: &Arc<RequestRecorder>,
) -> error::Result<()> {
    let presented = presented(request.headers());
    let known = presented.as_ref().ok().and_then(|key| state.keys.find((*key)?));
    if let Some(key) = known {
        recorder.key(key.label());
    }
    let endpoint = recorder.endpoint();
    let route = route::find(endpoint);
    let needs_key = match route {
        // A path that is no route is a 404 with or without a key: there is nothing behind it to protect.
        None | Some((Access::Public, _)) => false,
        Some((Access::Statistics, _)) => state.analytics_require_key,
        Some((Access::Key, _)) => true,
    };
    if !needs_key {
        return Ok(());
    }
    let Some(key) = known else {
        return Err(unauthorized(match presented? {
            Some(_) => "The API key is not valid; use one of the keys that the server accepts.",
            None => {
                "No API key was sent; send one in the X-API-Key header, or as a bearer token in the Authorization header."
            }
        }));
    };
    let cache_control = cache_control(request.headers());
    let caller = app::Caller {
        principal: key,
        endpoint,
        is_native: route.is_none_or(|(_, errors)| errors == ErrorFormat::Problem),
        cache_control,
        recorder: Arc::clone(recorder),
    };
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The key that was sent, in one of two headers or in both.
///
/// # Errors
/// `Malformed` when there are two: a proxy in front may have checked the other.
pub(in crate::http) fn presented(headers: &HeaderMap) -> error::Result<Option<&[u8]>> {
    let plain = headers.get_all(&API_KEY).iter().map(HeaderValue::as_bytes);
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let mut keys = plain.chain(bearer).filter(|key| !key.is_empty());
    let first = keys.next();
    if keys.any(|other| Some(other) != first) {
        let message = "Two different API keys were sent; send one, in X-API-Key or in Authorization.";
        return Err(Error::new(Kind::Malformed, message));
    }
    Ok(first)
}

/// The request's `Cache-Control`. What is not understood is passed over, as RFC 9111 has it.
fn cache_control(headers: &HeaderMap) -> CacheControl {
    let mut cache_control = CacheControl::default();
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" => cache_control.no_cache = true,
            "no-store" => cache_control.no_store = true,
            "max-age" => {
                cache_control.max_age = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
            }
            _ => {}
        }
    }
    cache_control
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

//! Who is asking. Runs before any handler and before the body is read.

use std::{convert::Infallible, ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{Edge, PUBLIC, error::Result, observe::Observation};
use crate::{
    app,
    error::{Error, Kind},
};

/// The caller of a route that needs a key, with what is noted of the request.
pub(super) struct Caller {
    caller: app::Caller,
    pub(super) observation: Arc<Observation>,
}

impl Deref for Caller {
    type Target = app::Caller;

    fn deref(&self) -> &app::Caller {
        &self.caller
    }
}

pub(super) async fn require_key(
    State(edge): State<Arc<Edge>>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    // A path that is no route is a 404 whoever asks: there is nothing behind it to protect.
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(next.run(request).await) };
    let endpoint = edge.app.metrics.endpoint(Some(path.as_str()));
    if !PUBLIC.contains(&endpoint) {
        let key = presented(request.headers()).ok_or_else(|| {
            unauthorized("No API key was sent; send it as X-API-Key or Authorization: Bearer.")
        })?;
        let key = edge.keys.find(key).ok_or_else(|| unauthorized("The API key is wrong."))?;
        request.extensions_mut().insert(app::Caller { key, endpoint });
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

fn unauthorized(message: &str) -> Error {
    Error::new(Kind::Unauthorized, message)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        let caller = parts.extensions.get::<app::Caller>().expect("require_key lets no one else pass");
        let observation = parts.extensions.get().cloned().expect("observe is around every route");
        Ok(Self { caller: caller.clone(), observation })
    }
}

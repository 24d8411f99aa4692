//! `/dashboard/session`: signing in with the address that the server prints, and signing out.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::keys::Session,
    error::{Error, Kind},
    http::{
        HttpState,
        extract::SmallJson,
        middleware::{auth, errors::Result},
    },
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SignInBody {
    /// Token in the address that `simpleton serve` prints, after `#token=`.
    token: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SessionReply {
    /// Session key, which is accepted wherever an API key is.
    key: String,
    /// RFC 3339.
    expires_at: String,
}

/// Sign in: exchange the token of a sign-in address for a session key
///
/// A token works once, for 15 minutes after the server has started. A session key works for 12 hours, or until the
/// server stops.
#[utoipa::path(post, path = "/dashboard/session", tag = "Service",
    request_body(content = SignInBody, example = json!({"token": "0123456789abcdef"})),
    responses((status = 200, body = SessionReply)))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    SmallJson(body): SmallJson<SignInBody>,
) -> Result<Json<SessionReply>> {
    let session = state.keys.sign_in(body.token.as_bytes())?.ok_or_else(|| {
        let message = "This sign-in address is not valid: it has expired, or it has been used. Sign in with an API key.";
        Error::new(Kind::Unauthorized, message)
    })?;
    let Session { key, expires_at } = session;
    Ok(Json(SessionReply { key: key.expose().to_owned(), expires_at: expires_at.to_string() }))
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SignedOutReply {
    signed_out: bool,
}

/// Sign out: end the session whose key the request is sent with
#[utoipa::path(delete, path = "/dashboard/session", tag = "Service",
    security(("key" = []), ("bearer" = [])), responses((status = 200, body = SignedOutReply)))]
pub(in crate::http) async fn remove(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
) -> Result<Json<SignedOutReply>> {
    let is_open = auth::presented(&headers)?.is_some_and(|key| state.keys.sign_out(key));
    if !is_open {
        let message = "Send the key of an open session; API keys cannot be signed out.";
        return Err(Error::new(Kind::Unauthorized, message).into());
    }
    Ok(Json(SignedOutReply { signed_out: true }))
}

//! Features that are being tried out, which clients ask for in a header and in the query.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};
use utoipa::IntoParams;

use crate::http::ignored::IgnoredNames;

/// Whether such features were asked for; that has no effect.
#[derive(Clone, Copy)]
pub(in crate::http) struct Betas {
    in_header: bool,
    in_query: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documentation of `Betas`")]
pub(in crate::http) struct BetaParam {
    /// Has no effect.
    beta: Option<bool>,
}

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

impl<S: Sync> FromRequestParts<S> for Betas {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let in_query = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "beta");
        Ok(Self { in_header: parts.headers.contains_key(BETA), in_query })
    }
}

impl Betas {
    pub(in crate::http) fn ignored(self) -> IgnoredNames {
        let mut names = IgnoredNames::default();
        names.note_if("anthropic-beta", self.in_header);
        names.note_if("beta", self.in_query);
        names
    }
}

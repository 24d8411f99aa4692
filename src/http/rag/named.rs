//! Names in paths. An invalid name is answered like an unknown one, with 404.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use crate::{
    error::{Error, Kind, Result},
    http::{HttpState, middleware::errors::Failure},
    vectors::{CollectionName, DocumentId},
};

/// The name in a path.
pub(in crate::http) struct Named<T>(pub(in crate::http) T);

/// A name that can be in a path.
pub(in crate::http) trait Name: Sized {
    /// Message for a name that is not valid.
    const UNKNOWN: &'static str;

    fn parse(name: String) -> Result<Self>;

    /// Error for an unknown name.
    fn unknown() -> Error {
        Error::new(Kind::NotFound, Self::UNKNOWN)
    }
}

impl Name for CollectionName {
    const UNKNOWN: &'static str = "There is no collection of this name.";

    fn parse(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl Name for DocumentId {
    const UNKNOWN: &'static str = "There is no document of this id.";

    fn parse(id: String) -> Result<Self> {
        Self::new(id)
    }
}

impl<T: Name> FromRequestParts<Arc<HttpState>> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<HttpState>,
    ) -> std::result::Result<Self, Failure> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let name = name.ok().and_then(|Path(name)| T::parse(name).ok());
        Ok(Self(name.ok_or_else(T::unknown)?))
    }
}

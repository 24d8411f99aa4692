//! Small JSON bodies of callers without a key: the only ones of theirs that are read.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::parse;
use crate::{
    error::{Error, Kind},
    http::{HttpState, middleware::errors::Failure},
};

/// Maximum number of bytes.
const LIMIT: usize = 1024;

/// A JSON body of type `T`, in up to 1 kB.
pub(in crate::http) struct SmallJson<T>(pub(in crate::http) T);

impl<T: DeserializeOwned> FromRequest<Arc<HttpState>> for SmallJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> Result<Self, Failure> {
        let read = timeout(state.request_timeout, to_bytes(request.into_body(), LIMIT)).await;
        let read = read.map_err(|_| {
            Error::new(Kind::RequestTimeout, "The body arrives too slowly; send the request again.")
        })?;
        let body = read.map_err(|source| {
            let message = format!("The body is incomplete, or larger than {LIMIT} bytes.");
            Error::new(Kind::TooLarge, message).with_source(source)
        })?;
        Ok(Self(parse(&body)?))
    }
}

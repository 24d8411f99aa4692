//! `/api/blobs/{digest}`: files that models are made of.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    http::{StatusCode, request::Parts},
};
use utoipa::IntoParams;

use crate::{
    error::{Error, Kind},
    http::{
        HttpState,
        extract::body::Incoming,
        middleware::errors::{Failure, Result},
    },
};

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "documentation of `Digest`")]
pub(in crate::http) struct DigestParam {
    /// sha256 of the file.
    #[param(example = "sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2")]
    digest: String,
}

/// Digest in the path.
pub(in crate::http) struct Digest(String);

impl<S: Send + Sync> FromRequestParts<S> for Digest {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Failure> {
        let digest = Path::<String>::from_request_parts(parts, state).await;
        let Path(digest) = digest.map_err(|_| Error::new(Kind::Invalid, "invalid digest format"))?;
        Ok(Self(digest))
    }
}

/// Check whether a file is there (Ollama)
#[utoipa::path(head, path = "/api/blobs/{digest}", tag = "Ollama", params(DigestParam), responses((status = 200)))]
pub(in crate::http) async fn exists(
    State(state): State<Arc<HttpState>>,
    Digest(digest): Digest,
) -> Result<StatusCode> {
    if state.app.has_blob(&digest).await? {
        return Ok(StatusCode::OK);
    }
    Err(Error::new(Kind::NotFound, format!("blob \"{digest}\" not found")).into())
}

/// Upload a GGUF file, from which `/api/create` makes a model (Ollama)
///
/// A file is removed after a day if no model was made of it.
#[utoipa::path(post, path = "/api/blobs/{digest}", tag = "Ollama", params(DigestParam),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200), (status = 201)))]
pub(in crate::http) async fn upload(
    State(state): State<Arc<HttpState>>,
    Digest(digest): Digest,
    request: Request,
) -> Result<StatusCode> {
    if state.app.has_blob(&digest).await? {
        return Ok(StatusCode::OK);
    }
    let body = Incoming::begin_large(request, &state)?;
    state.app.add_blob(&digest, body.into_stream()).await?;
    Ok(StatusCode::CREATED)
}

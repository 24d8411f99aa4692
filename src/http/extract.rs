//! Reading requests: JSON bodies of the right shape, and query strings.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{
    Edge,
    body::{Incoming, LARGE},
    body_memory::Room,
    error::Failure,
    tree::Tree,
    wrong_types::{Root, wrong_query, wrong_types},
};
use crate::error::{Error, Kind, Result};

/// A JSON body of type `T`, and the room in memory that it takes.
pub(super) struct Json<T>(pub(super) T, pub(super) Room);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<Edge>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> std::result::Result<Self, Failure> {
        check_content_type(request.headers())?;
        let (body, room) = Incoming::begin(request, edge).await?.whole().await?;
        if body.len() < LARGE {
            return Ok(Self(parse(&body)?, room));
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
        let parsed = parsed.map_err(|source| {
            Error::new(Kind::Internal, "The request could not be parsed.").because(source)
        })?;
        Ok(Self(parsed?, room))
    }
}

/// A missing content type is taken for JSON.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
        Ok(())
    } else {
        Err(Error::new(Kind::UnsupportedMediaType, "Send JSON, with Content-Type: application/json."))
    }
}

/// Malformed JSON is one thing (400), well-formed JSON of the wrong shape another (422 with a
/// pointer to each field).
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    read(body).map_err(|error| {
        let malformed =
            |error| Error::new(Kind::Malformed, format!("The body cannot be read as JSON: {error}."));
        // As a tree JSON may take a hundred times its size: of a large body only the first fault is named.
        match (body.len() < LARGE).then(|| serde_json::from_slice(body)) {
            Some(Ok(Tree(tree))) => wrong_types::<T>(body, Some(tree)),
            Some(Err(error)) => malformed(error),
            None if error.is_data() => wrong_types::<T>(body, None),
            None => malformed(error),
        }
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = T::deserialize(Root(&mut deserializer))?;
    deserializer.end().map(|()| read)
}

/// A query string of type `T`.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        match serde_path_to_error::deserialize(fields) {
            Ok(query) => Ok(Self(query)),
            Err(error) => Err(wrong_query(&error).into()),
        }
    }
}

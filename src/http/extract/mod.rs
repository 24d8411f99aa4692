//! Reading requests: JSON bodies of the right shape, and query strings.

pub(super) mod body;
mod body_memory;
pub(super) mod document;
pub(super) mod fields;
mod form;
pub(super) mod images;
pub(super) mod multipart;
pub(super) mod nearest;
pub(super) mod object;
mod small;
pub(super) mod texts;
pub(super) mod tools;
pub(super) mod wrong_field;

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request},
    http::{HeaderMap, Method, header, request::Parts},
};
use http_body::Body as _;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub use self::body_memory::BodyMemory;
use self::{
    body::{Incoming, LARGE_BYTES},
    fields::Fields,
    object::Object,
    wrong_field::wrong_field,
};
pub(super) use self::{body_memory::Room, small::SmallJson};
use crate::{
    error::{Error, Kind, Result},
    http::{HttpState, docs, middleware::errors::Failure},
};

/// A JSON body of type `T`, and the room in memory that it takes.
pub(in crate::http) struct Json<T>(pub(in crate::http) T, pub(in crate::http) Room);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<HttpState>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> std::result::Result<Self, Failure> {
        let declared = declared(request.headers())?;
        let (body, room) = Incoming::begin(request, state).await?.collect().await?;
        let parsed = if body.len() < LARGE_BYTES {
            parse(&body)
        } else {
            tokio::task::spawn_blocking(move || parse(&body)).await.map_err(|source| {
                Error::new(Kind::Internal, "Parsing the request failed.").with_source(source)
            })?
        };
        match parsed {
            Err(error) if declared == Declared::Form && error.kind() == Kind::Malformed => {
                Err(no_json().into())
            }
            parsed => Ok(Self(parsed?, room)),
        }
    }
}

/// A body that may be absent.
impl<T: DeserializeOwned + Send + 'static> OptionalFromRequest<Arc<HttpState>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(
        request: Request,
        state: &Arc<HttpState>,
    ) -> std::result::Result<Option<Self>, Failure> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<_>>::from_request(request, state).await.map(Some)
    }
}

/// Content type that a body is declared as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    Json,
    /// A form, which is what curl says of everything when it is not told better.
    Form,
}

/// Bodies without a type, or with a plain text's, as browsers give it to a string, are taken for JSON.
fn declared(headers: &HeaderMap) -> Result<Declared> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(Declared::Json) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "" | "application/json" | "text/plain" | "text/json" => Ok(Declared::Json),
        "application/x-www-form-urlencoded" => Ok(Declared::Form),
        other if other.ends_with("+json") => Ok(Declared::Json),
        _ => Err(no_json()),
    }
}

fn no_json() -> Error {
    Error::new(Kind::UnsupportedMediaType, "Send JSON, with the header Content-Type: application/json.")
}

/// Malformed JSON is one thing (400), well-formed JSON of the wrong shape another (422 with a
/// pointer to the field).
pub(in crate::http) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    if body.trim_ascii().is_empty() {
        return Err(Error::new(Kind::Malformed, "The body is empty; send JSON in it."));
    }
    let malformed = |error| Error::new(Kind::Malformed, format!("The body is not valid JSON: {error}."));
    let mut text = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize(&mut text) {
        Ok(Object(read)) => text.end().map(|()| read).map_err(malformed),
        Err(error) if error.inner().is_data() => Err(wrong_field(&error)),
        Err(error) => Err(malformed(error.into_inner())),
    }
}

/// A query string of type `T`.
pub(in crate::http) struct Query<T>(pub(in crate::http) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        match serde_path_to_error::deserialize(fields) {
            Ok(query) => Ok(Self(query)),
            Err(error) => Err(wrong_field(&error).into()),
        }
    }
}

/// A field of a query that is absent when it is left empty, as forms send it.
pub(in crate::http) fn filled<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|text: &String| !text.is_empty()))
}

/// Refuses what a query names and its route does not know. Which parameters a route knows is what its
/// documentation says.
///
/// # Errors
/// `Invalid`, with the nearest known name of each.
pub(in crate::http) fn check_query(template: &str, method: &Method, query: &str) -> Result<()> {
    if query.is_empty() {
        return Ok(());
    }
    let Some(known) = docs::query_parameters(template, method) else { return Ok(()) };
    let mut fields = Fields::default();
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !known.contains(&name.as_ref()) {
            fields.unknown(&name, nearest::unknown(&name, &known, "parameter"));
        }
    }
    fields.finish()
}

//! Reading requests: JSON bodies within limits on size, time and shape, and query strings.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Query as AxumQuery, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::BytesMut;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Edge, error::Failure};
use crate::error::{Error, Kind, Result};

/// A larger body is parsed on a thread where blocking is allowed.
const LARGE: usize = 256 * 1024;

/// A JSON body of type `T`.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<Edge>> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> std::result::Result<Self, Failure> {
        check_content_type(request.headers())?;
        let body = read(request, edge).await?;
        if body.len() < LARGE {
            return Ok(Self(parse(&body)?));
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
        Ok(Self(parsed.map_err(|source| {
            Error::new(Kind::Internal, "The request could not be parsed.").because(source)
        })??))
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

/// The whole body. One that announces itself as too long is refused without reading it.
async fn read(request: Request, edge: &Edge) -> Result<Bytes> {
    let limit = edge.max_body;
    let too_large =
        || Error::new(Kind::TooLarge, format!("The body is larger than {} MB.", limit / (1024 * 1024)));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let mut body: Body = request.into_body();
    // Nearly every request comes whole in its first frame, which then needs no copy.
    let Some(first) = next_data(&mut body, edge).await? else { return Ok(Bytes::new()) };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(data) = next_data(&mut body, edge).await? {
        if whole.len() + data.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Body, edge: &Edge) -> Result<Option<Bytes>> {
    loop {
        // Nearly always it is here already, and no timer is needed.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => timeout(edge.request_timeout, body.frame()).await.map_err(|_| {
                let seconds = edge.request_timeout.as_secs_f32();
                Error::new(
                    Kind::RequestTimeout,
                    format!("The body stopped coming for more than {seconds} s."),
                )
            })?,
        };
        match frame {
            None => return Ok(None),
            Some(Err(source)) => {
                return Err(Error::new(Kind::Malformed, "The body broke off.").because(source));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Malformed JSON is one thing (400), well-formed JSON of the wrong shape another (422 with a
/// pointer to the field).
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            // Only now is it worth knowing where.
            let deserializer = &mut serde_json::Deserializer::from_slice(body);
            return match serde_path_to_error::deserialize::<_, T>(deserializer) {
                Err(located) => wrong_shape(&located),
                Ok(_) => Error::new(Kind::Invalid, "The JSON does not have the right shape.").because(error),
            };
        }
        Error::new(Kind::Malformed, format!("The body is not valid JSON: {error}."))
    })
}

fn wrong_shape(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in error.path() {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => {
                pointer.pop();
            }
        }
    }
    let text = error.inner().to_string();
    // serde_json adds where in the text it was, which the pointer says better.
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Error::field(pointer, detail)
}

/// A query string of type `T`.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Failure> {
        match AxumQuery::<T>::try_from_uri(&parts.uri) {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(rejection) => Err(Error::new(Kind::Invalid, format!("{}.", rejection.body_text())).into()),
        }
    }
}

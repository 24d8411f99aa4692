//! The OpenAI-compatible protocol over one `Client`: a streamed chat, and embeddings. It knows
//! neither where the server is nor who runs it, so that the embedded engine and a remote server are
//! spoken to by the same lines.

use std::time::{Duration, Instant};

use futures_util::{Stream, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{LARGE_BYTES, place::Place, replies, to_json, work};
use crate::{
    error::{Error, Kind, Result},
    http_client::{Client, Request, Response, Retry},
    types::{ChatEvent, Done, EmbedReply},
    wire::{
        Parser,
        foreign::{SCHEMA_REFUSED, is_about_schemas, json_fault, loggable, without_paths},
        openai::{EmbedInput, EmbeddingsBody, ErrorBody, ErrorObject, parse_embeddings},
        sse::Events,
    },
};

/// 8 MB: refusals, templates, the tokens of a megabyte of text.
const SMALL_BODY: usize = 8_000_000;
/// A vector of 8192 numbers takes 44 kB in base64 and up to 180 kB as text.
const BYTES_PER_EMBEDDING: usize = 200_000;
/// Retry-After while a server loads its model.
const RETRY_AFTER_LOADING: Duration = Duration::from_secs(2);

/// Posts a request; `place` is the field of the caller's request that holds the prompt.
///
/// # Errors
/// As `Client::send`. A refusal becomes `Invalid` when the request is at fault (with both numbers
/// when the prompt is longer than the context), `Busy` for 429, `Unavailable` while the model is
/// loading, else `BadGateway`.
pub(super) async fn post(client: &Client, path: &str, body: Vec<u8>, place: Place<'_>) -> Result<Response> {
    let response = client.send(Request::post(path, body, Retry::Idempotent)).await?;
    if response.is_success() { Ok(response) } else { Err(refusal(response, place).await) }
}

/// Posts a request whose answer is one small JSON value.
///
/// # Errors
/// As `post`, and `BadGateway` when the answer is not what it should be.
pub(super) async fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
    place: Place<'_>,
) -> Result<T> {
    ask_json(client, path, to_json(body)?, place).await
}

/// The same for a body that is JSON already.
///
/// # Errors
/// Those of `ask`.
pub(super) async fn ask_json<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: Vec<u8>,
    place: Place<'_>,
) -> Result<T> {
    let answer = post(client, path, body, place).await?.bytes(SMALL_BODY).await?;
    serde_json::from_slice(&answer).map_err(|source| {
        Error::new(Kind::BadGateway, format!("{} sent an invalid response.", client.peer()))
            .with_source(json_fault(&source))
    })
}

/// The events of a streamed reply. `since` is when the caller asked.
pub(super) fn events<P: Parser>(response: Response, since: Instant) -> impl Stream<Item = Result<ChatEvent>> {
    let mut first = None;
    replies::events::<Events, P>(response).map_ok(move |event| match event {
        ChatEvent::Done(done) => timed(*done, since, first).into(),
        event => {
            first.get_or_insert_with(Instant::now);
            event
        }
    })
}

/// Embeds all texts in one call.
///
/// # Errors
/// As `post`, and `BadGateway` when the answer is not one vector for each text.
pub(super) async fn embed(client: &Client, input: &[EmbedInput], place: Place<'_>) -> Result<EmbedReply> {
    let body = to_json(&EmbeddingsBody::new(None, input))?;
    let count = input.len();
    let response = post(client, "/v1/embeddings", body, place).await?;
    let answer = response.bytes(SMALL_BODY + count * BYTES_PER_EMBEDDING).await?;
    work(answer.len() > LARGE_BYTES, move || parse_embeddings(&answer, count)).await
}

/// Servers that do not measure get what we can see: the time to the first event, and the rest.
fn timed(mut done: Done, since: Instant, first: Option<Instant>) -> Done {
    let timings = &mut done.timings;
    timings.total = since.elapsed();
    if timings.prompt_eval.is_zero() && timings.eval.is_zero() {
        timings.prompt_eval = first.map_or(timings.total, |first| first - since);
        timings.eval = timings.total.saturating_sub(timings.prompt_eval);
    }
    done
}

async fn refusal(response: Response, place: Place<'_>) -> Error {
    let (status, peer) = (response.status(), response.peer());
    let body = response.beginning(SMALL_BODY).await;
    let error = serde_json::from_slice::<ErrorBody>(&body).map_or_else(
        |_| ErrorObject { message: String::from_utf8_lossy(&body).into_owned(), ..ErrorObject::default() },
        |body| body.error,
    );
    if let Some((tokens, context)) = error.exceeded_context() {
        let detail = place.too_long(&tokens.to_string(), context);
        return Error::field(place.pointer, detail).over_context(tokens, context);
    }
    // What llama-server answers when the model lacks what the request needs, as for `/infill`.
    if status == 501 {
        return Error::field(place.pointer, "is not supported by this model")
            .with_source(loggable(&error.message));
    }
    let (kind, message) = match status {
        400 | 422 | 500 if place.with_schema && is_about_schemas(&error.message) => {
            (Kind::Invalid, format!("{peer} {SCHEMA_REFUSED}."))
        }
        400 | 413 | 422 => {
            // A template's complaint runs over many lines, and the last one says what it is about.
            let point = error.message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            let complaint = without_paths(point.trim().trim_end_matches('.'));
            (Kind::Invalid, format!("{peer} refused the request: {complaint}."))
        }
        429 => (Kind::Busy, format!("{peer} is busy; try again later.")),
        503 => (Kind::Unavailable, format!("{peer} is not ready yet; try again in a moment.")),
        504 => (Kind::GatewayTimeout, format!("{peer} did not respond in time.")),
        _ => (
            Kind::BadGateway,
            format!("{peer} answered with an error (status {status}); see the log for the cause."),
        ),
    };
    let refused = Error::new(kind, message).with_source(loggable(&error.message));
    match status {
        429 | 503 => refused.retry_after(RETRY_AFTER_LOADING),
        _ => refused,
    }
}

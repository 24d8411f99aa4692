//! A request's body as it comes in: within limits on its size, on the client's pauses, on how slowly it
//! comes, and on the memory that large bodies take.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_stream::try_stream;
use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, header},
};
use bytes::BytesMut;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Room;
use crate::{
    backend::FileStream,
    error::{Error, Kind, Result},
    http::{HttpState, middleware::auth::principal_of},
    types::Principal,
};

/// Bytes a second that a body has at least, the first `request_timeout` left out. A line of 1 Mbit/s has
/// eight times that; the room of a body of 32 MB is held for half an hour at most.
const MIN_RATE: usize = 16 * 1024;

/// A larger body is counted, and is parsed on a thread where blocking is allowed.
pub(in crate::http) const LARGE_BYTES: usize = 256 * 1024;

pub(in crate::http) struct Incoming {
    state: Arc<HttpState>,
    key: Principal,
    body: Body,
    announced: Option<usize>,
    /// Maximum number of bytes; of a body that is kept in memory.
    limit: Option<usize>,
    received: usize,
    /// When there was room for it.
    started: Instant,
    room: Room,
}

impl Incoming {
    /// Refuses a body that announces itself as too long without reading it, and waits for room for a
    /// large one.
    pub(in crate::http) async fn begin(request: Request, state: &Arc<HttpState>) -> Result<Self> {
        let announced = announced(&request)?;
        if announced.is_some_and(|length| length > state.max_body) {
            return Err(too_large(state));
        }
        let key = principal_of(&request);
        let room = match announced {
            Some(length) if length > LARGE_BYTES => room(state, key, length).await?,
            _ => Room::default(),
        };
        Ok(Self::new(request, state, announced, Some(state.max_body), room))
    }

    /// A body that is not kept in memory, and may have any size.
    ///
    /// # Errors
    /// `UnsupportedMediaType` when it is encoded.
    pub(in crate::http) fn begin_large(request: Request, state: &Arc<HttpState>) -> Result<Self> {
        let announced = announced(&request)?;
        Ok(Self::new(request, state, announced, None, Room::default()))
    }

    fn new(
        request: Request,
        state: &Arc<HttpState>,
        announced: Option<usize>,
        limit: Option<usize>,
        room: Room,
    ) -> Self {
        let key = principal_of(&request);
        let (state, body, started) = (Arc::clone(state), request.into_body(), Instant::now());
        Self { state, key, body, announced, limit, received: 0, started, room }
    }

    /// How many bytes it says it has; 0 when it does not say.
    pub(in crate::http) fn announced(&self) -> usize {
        self.announced.unwrap_or_default()
    }

    /// The next piece; none at the end.
    pub(in crate::http) async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(data) = self.next_data().await? else { return Ok(None) };
        self.received += data.len();
        let Some(limit) = self.limit else { return Ok(Some(data)) };
        if self.received > limit {
            return Err(too_large(&self.state));
        }
        if self.received > LARGE_BYTES && self.room.is_none() {
            // It did not say how long it is, so that it may become the longest.
            let waiting = Instant::now();
            self.room = room(&self.state, self.key, self.state.max_body).await?;
            self.started += waiting.elapsed();
        }
        Ok(Some(data))
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>> {
        let pause = self.state.request_timeout;
        loop {
            // Nearly always it is here already, and no timer is needed.
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    let earned = Duration::from_secs_f64(self.received as f64 / MIN_RATE as f64);
                    let left = (pause + earned).saturating_sub(self.started.elapsed());
                    let frame = timeout(pause.min(left), self.body.frame()).await;
                    frame.map_err(|_| if left < pause { too_slow(pause) } else { stopped(pause) })?
                }
            };
            match frame {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(Error::new(
                        Kind::Malformed,
                        "The body ended before it was complete; send the request again.",
                    )
                    .with_source(source));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, and the room that it takes.
    pub(in crate::http) async fn collect(mut self) -> Result<(Bytes, Room)> {
        // Nearly every request comes whole in its first piece, which then needs no copy.
        let Some(first) = self.next().await? else { return Ok((Bytes::new(), self.room)) };
        if self.announced == Some(first.len()) {
            return Ok((first, self.room));
        }
        let mut whole = BytesMut::with_capacity(self.announced.unwrap_or_default());
        whole.extend_from_slice(&first);
        while let Some(data) = self.next().await? {
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), self.room))
    }

    pub(in crate::http) fn into_room(self) -> Room {
        self.room
    }

    /// The pieces as they come.
    pub(in crate::http) fn into_stream(mut self) -> FileStream {
        Box::pin(try_stream! {
            while let Some(piece) = self.next().await? {
                yield piece;
            }
        })
    }
}

/// How long the body says it is.
///
/// # Errors
/// `UnsupportedMediaType` when it is encoded.
fn announced(request: &Request) -> Result<Option<usize>> {
    let headers = request.headers();
    let as_it_is = has_only(headers, header::CONTENT_ENCODING, b"identity")
        && has_only(headers, header::TRANSFER_ENCODING, b"chunked");
    if !as_it_is {
        let message = "Send the body uncompressed: Content-Encoding is not supported, and the only supported Transfer-Encoding is chunked.";
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    let length = headers.get(header::CONTENT_LENGTH);
    Ok(length.and_then(|length| length.to_str().ok()?.parse().ok()))
}

/// Whether no other coding is in the header's list, which may be empty or spread over several lines.
fn has_only(headers: &HeaderMap, name: HeaderName, coding: &[u8]) -> bool {
    let lists = headers.get_all(name).iter();
    let mut given =
        lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    given.all(|given| given.is_empty() || given.eq_ignore_ascii_case(coding))
}

fn too_large(state: &HttpState) -> Error {
    let megabytes = state.max_body / (1024 * 1024);
    Error::new(Kind::TooLarge, format!("The body is larger than {megabytes} MB; send a smaller one."))
}

/// Meanwhile the client waits, too: what it sends stays in its own buffers.
async fn room(state: &HttpState, key: Principal, bytes: usize) -> Result<Room> {
    timeout(state.request_timeout, state.body_memory.room(key, bytes)).await.map_err(|_| {
        Error::new(Kind::Busy, "Too many large requests at once; try again later.")
            .retry_after(Duration::from_secs(5))
    })
}

fn stopped(pause: Duration) -> Error {
    let seconds = pause.as_secs_f32();
    Error::new(
        Kind::RequestTimeout,
        format!(
            "No data arrived for more than {seconds} s in the middle of the body; send the request again."
        ),
    )
}

fn too_slow(pause: Duration) -> Error {
    let message = format!(
        "The body arrives too slowly: send at least {} kB per second after the first {} s.",
        MIN_RATE / 1024,
        pause.as_secs_f32()
    );
    Error::new(Kind::RequestTimeout, message)
}

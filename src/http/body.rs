//! A request's body as it comes in: within limits on its size, on the client's pauses, and on the
//! memory that all large bodies take together.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, header},
};
use bytes::BytesMut;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::Edge;
use crate::error::{Error, Kind, Result};

/// A larger body is counted, and is parsed on a thread where blocking is allowed.
pub(super) const LARGE: usize = 256 * 1024;

/// The share of memory that one large body holds for as long as this value lives.
#[derive(Default)]
pub(super) struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Gives back what is more than so many bytes: pictures take less than they did as base64.
    pub(super) fn keep(mut self, bytes: usize) -> Self {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes.div_ceil(1024))));
        }
        self
    }
}

pub(super) struct Incoming {
    edge: Arc<Edge>,
    body: Body,
    announced: Option<usize>,
    received: usize,
    room: Room,
}

impl Incoming {
    /// Refuses a body that announces itself as too long without reading it, and waits for room for a
    /// large one.
    pub(super) async fn begin(request: Request, edge: &Arc<Edge>) -> Result<Self> {
        let headers = request.headers();
        let as_it_is = has_only(headers, header::CONTENT_ENCODING, b"identity")
            && has_only(headers, header::TRANSFER_ENCODING, b"chunked");
        if !as_it_is {
            let message = "Send the body as it is: no Content-Encoding, no Transfer-Encoding but chunked.";
            return Err(Error::new(Kind::UnsupportedMediaType, message));
        }
        let length = headers.get(header::CONTENT_LENGTH);
        let announced: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length| length > edge.max_body) {
            return Err(too_large(edge));
        }
        let room = match announced {
            Some(length) if length > LARGE => room(edge, length).await?,
            _ => Room::default(),
        };
        Ok(Self { edge: Arc::clone(edge), body: request.into_body(), announced, received: 0, room })
    }

    /// How many bytes it says it has; 0 when it does not say.
    pub(super) fn announced(&self) -> usize {
        self.announced.unwrap_or_default()
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(data) = self.next_data().await? else { return Ok(None) };
        self.received += data.len();
        if self.received > self.edge.max_body {
            return Err(too_large(&self.edge));
        }
        if self.received > LARGE && self.room.0.is_none() {
            // It did not say how long it is, so that it may become the longest.
            self.room = room(&self.edge, self.edge.max_body).await?;
        }
        Ok(Some(data))
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>> {
        let pause = self.edge.request_timeout;
        loop {
            // Nearly always it is here already, and no timer is needed.
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => timeout(pause, self.body.frame()).await.map_err(|_| {
                    let seconds = pause.as_secs_f32();
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

    /// The whole body, and the room that it takes.
    pub(super) async fn whole(mut self) -> Result<(Bytes, Room)> {
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

    pub(super) fn into_room(self) -> Room {
        self.room
    }
}

/// Whether no other coding is in the header's list, which may be empty or spread over several lines.
fn has_only(headers: &HeaderMap, name: HeaderName, coding: &[u8]) -> bool {
    let lists = headers.get_all(name).iter();
    let mut given =
        lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    given.all(|given| given.is_empty() || given.eq_ignore_ascii_case(coding))
}

fn too_large(edge: &Edge) -> Error {
    let megabytes = edge.max_body / (1024 * 1024);
    Error::new(Kind::TooLarge, format!("The body is larger than {megabytes} MB."))
}

/// Meanwhile the client waits, too: what it sends stays in its own buffers.
async fn room(edge: &Edge, bytes: usize) -> Result<Room> {
    let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    let waiting = Arc::clone(&edge.body_memory).acquire_many_owned(kilobytes);
    match timeout(edge.request_timeout, waiting).await {
        Ok(permit) => Ok(Room(permit.ok())),
        Err(_) => {
            Err(Error::new(Kind::Busy, "Too many large requests come in at once; send it again later.")
                .retry_after(Duration::from_secs(5)))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn room_that_is_not_needed_is_given_back() {
        let all = Arc::new(Semaphore::new(1000));
        let room = Room(Arc::clone(&all).try_acquire_many_owned(800).ok()).keep(100 * 1024 - 1);
        assert_eq!(all.available_permits(), 900);
        let room = room.keep(500 * 1024);
        assert_eq!(all.available_permits(), 900);
        drop(room);
        assert_eq!(all.available_permits(), 1000);
    }
}

//! From a response's bytes to whole frames, with the idle timeout on frames and not on bytes: a
//! backend that drips one byte a minute is as stuck as one that sends nothing.

use bytes::Bytes;
use tokio::time::timeout;

use crate::{client::Response, error::Result, wire::Framing};

pub(super) struct Frames<F> {
    response: Response,
    framing: F,
    ended: bool,
}

impl<F: Framing> Frames<F> {
    pub(super) fn new(response: Response, framing: F) -> Self {
        Self { response, framing, ended: false }
    }

    /// The next frame, `None` at the proper end of the body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        // Most frames arrive together with others, and then there is nothing to wait for.
        if let Some(frame) = self.framing.next_frame()? {
            return Ok(Some(frame));
        }
        match timeout(self.response.idle_timeout(), self.read()).await {
            Ok(frame) => frame,
            Err(_) => Err(self.response.paused()),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.framing.next_frame()? {
                return Ok(Some(frame));
            }
            if self.ended {
                return Ok(None);
            }
            match self.response.chunk().await? {
                Some(piece) => self.framing.push(&piece),
                None => {
                    self.ended = true;
                    return Ok(self.framing.rest());
                }
            }
        }
    }
}

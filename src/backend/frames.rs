//! From a response's bytes to whole frames, with the idle timeout on frames and not on bytes: a
//! backend that drips one byte a minute is as stuck as one that sends nothing.

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
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>> {
        // Most frames arrive together with others, and then there is nothing to wait for.
        let there = self.framing.advance()?
            || match timeout(self.response.idle_timeout(), self.read()).await {
                Ok(there) => there?,
                Err(_) => return Err(self.response.paused()),
            };
        Ok(there.then(|| self.framing.frame()))
    }

    /// Reads until there is one more frame.
    async fn read(&mut self) -> Result<bool> {
        while !self.ended {
            let Some(piece) = self.response.chunk().await? else {
                self.ended = true;
                return Ok(self.framing.end());
            };
            self.framing.push(&piece);
            if self.framing.advance()? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

//! From a response's bytes to the events of the reply in it.

use async_stream::try_stream;
use futures_util::Stream;
use tokio::time::timeout;

use crate::{
    error::{Error, Kind, Result},
    http_client::Response,
    types::ChatEvent,
    wire::{Framing, Parser},
};

/// The events of a streamed reply as they arrive, with exactly one `Done` at the end. Texts that have
/// arrived together are one event.
pub(super) fn events<F: Framing + Default, P: Parser>(
    response: Response,
) -> impl Stream<Item = Result<ChatEvent>> {
    try_stream! {
        let mut frames = Frames { response, framing: F::default() };
        let (mut parser, mut arrived) = (P::default(), Vec::new());
        let mut is_more = true;
        while is_more && !parser.is_closed() {
            let taken = frames.take(&mut parser, &mut arrived).await;
            // What was said before something went wrong is passed on before the error.
            for event in arrived.drain(..) {
                yield event;
            }
            is_more = taken?;
        }
        let done = parser.finish().ok_or_else(|| cut_off(&frames.response))?;
        frames.response.finish();
        yield done.into();
    }
}

/// Frames of a streamed response as they arrive, to the proper end of its body.
pub fn frames<F: Framing + Default>(response: Response) -> impl Stream<Item = Result<Vec<u8>>> {
    try_stream! {
        let mut frames = Frames { response, framing: F::default() };
        while frames.arrive().await? {
            yield frames.framing.frame().to_vec();
            while frames.framing.advance()? {
                yield frames.framing.frame().to_vec();
            }
        }
    }
}

struct Frames<F> {
    response: Response,
    framing: F,
}

impl<F: Framing> Frames<F> {
    /// Has all frames taken in that have arrived, and waits for one when none has; false at the proper
    /// end of the body.
    async fn take(&mut self, parser: &mut impl Parser, out: &mut Vec<ChatEvent>) -> Result<bool> {
        let mut there = self.arrive().await?;
        let is_more = there;
        while there && !parser.is_closed() {
            parser.take(self.framing.frame(), out)?;
            there = self.framing.advance()?;
        }
        Ok(is_more)
    }

    /// Waits for a frame; false when there is no more. The timeout is on frames and not on bytes: a backend
    /// that drips one byte a minute is as stuck as one that sends nothing.
    async fn arrive(&mut self) -> Result<bool> {
        match timeout(self.response.timeout(), self.wait()).await {
            Ok(there) => there,
            Err(_) => Err(self.response.paused()),
        }
    }

    /// Reads until there is a frame; false when there is no more.
    async fn wait(&mut self) -> Result<bool> {
        while let Some(piece) = self.response.chunk().await? {
            self.framing.push(&piece);
            if self.framing.advance()? {
                return Ok(true);
            }
        }
        Ok(self.framing.end())
    }
}

fn cut_off(response: &Response) -> Error {
    let peer = response.peer();
    Error::new(Kind::BadGateway, format!("{peer} ended its response before it was complete."))
}

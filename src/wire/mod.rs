//! Vendors' JSON and the framing it travels in, each format once: what `http/` serves and
//! `backend/` speaks. Pure: bytes and text in, values out.

pub mod foreign;
pub mod llama;
pub mod ndjson;
pub mod ollama;
pub mod openai;
pub mod otlp;
pub mod sse;
pub mod webhook;

use bytes::Bytes;

use crate::error::{Error, Kind, Result};

/// Cuts a byte stream, arriving in pieces of any size, into whole frames.
pub trait Framing: Send {
    /// Takes the next piece of the stream.
    fn push(&mut self, piece: &[u8]);

    /// The next whole frame, `None` until more has been pushed.
    ///
    /// # Errors
    /// `BadGateway` when one frame is longer than `MAX_FRAME`.
    fn next_frame(&mut self) -> Result<Option<Bytes>>;

    /// What is left when the stream has ended properly.
    fn rest(&mut self) -> Option<Bytes>;
}

/// 16 MB: a peer that never ends its line must not fill our memory.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

fn too_long() -> Error {
    Error::new(Kind::BadGateway, "The backend sent a line of more than 16 MB.")
}

#[cfg(test)]
mod testing {
    use bytes::Bytes;

    use super::Framing;

    /// Pushes `stream` cut at `cuts` and gives all frames.
    pub(super) fn frames(mut framing: impl Framing, stream: &[u8], cuts: &[usize]) -> Vec<Bytes> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&stream.len())).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let (mut out, mut from) = (Vec::new(), 0);
        for cut in cuts {
            framing.push(&stream[from..cut]);
            from = cut;
            while let Some(frame) = framing.next_frame().expect("short frames") {
                out.push(frame);
            }
        }
        out.extend(framing.rest());
        out
    }
}

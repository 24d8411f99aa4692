//! Interface between a reply and the API that writes it.

use super::{Frames, Framing};
use crate::{
    app::Collected,
    error::Error,
    types::{ChatEvent, Done},
};

/// Writes one reply in the JSON of one API. For a stream the methods are called in the order `begin`, `event`
/// for each event but the last, `end`; `error` takes the place of whatever was to come.
pub(in crate::http) trait ReplyEncoder: Send + 'static {
    /// Number of answers in the events, one after the other, each with its own end.
    fn choices(&self) -> usize {
        1
    }

    /// Format of a stream.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Called when the model is known, before the first event.
    fn begin(&mut self, model: &str, out: &mut Frames);

    /// Writes a text, a thought or a tool call.
    fn event(&mut self, event: &ChatEvent, out: &mut Frames);

    fn end(&mut self, done: &Done, out: &mut Frames);

    /// Writes what breaks a silence.
    fn ping(&mut self, out: &mut Frames) {
        out.ping();
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames);

    /// Returns the JSON of a reply that is not streamed.
    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8>;
}

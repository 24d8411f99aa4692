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

use serde::{Deserialize, Deserializer};

use crate::{
    error::{Error, Kind, Result},
    types::{ChatEvent, Done},
};

/// Cuts a byte stream, arriving in pieces of any size, into whole frames, where they lie.
pub trait Framing: Send {
    /// Takes the next piece of the stream.
    fn push(&mut self, piece: &[u8]);

    /// Goes on to the next whole frame; false until more has been pushed.
    ///
    /// # Errors
    /// `BadGateway` when one frame is longer than `MAX_FRAME`.
    fn advance(&mut self) -> Result<bool>;

    /// Goes on to what is left when the stream has ended properly; false when that is nothing.
    fn end(&mut self) -> bool;

    /// The frame that was gone on to.
    fn frame(&self) -> &[u8];
}

/// Makes the events of one streamed reply of its frames.
pub trait Parser: Default + Send {
    /// Takes the next frame in and appends what it says to `out`. The end of the reply is not among
    /// that: see `finish`.
    ///
    /// # Errors
    /// `BadGateway` when it is not of this protocol, or reports an error.
    fn take(&mut self, frame: &[u8], out: &mut Vec<ChatEvent>) -> Result<()>;

    /// Whether nothing more comes, though the connection may still be open.
    fn is_closed(&self) -> bool;

    /// The end of the reply; `None` when it was cut off before.
    fn finish(self) -> Option<Done>;
}

/// A count of tokens, cut to what a reply can have: a backend that counts wrongly must not spoil the
/// sums of all others.
fn tokens<'de, D: Deserializer<'de>>(count: D) -> Result<u64, D::Error> {
    or_default::<u64, D>(count).map(|count| count.min(u32::MAX.into()))
}

/// A text that is shown, also in terminals: without the characters that control one.
fn printable<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    String::deserialize(text).map(|text| text.replace(char::is_control, "\u{fffd}"))
}

/// The same of a text that may be absent.
fn maybe_printable<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(text)?;
    Ok(text.map(|text| text.replace(char::is_control, "\u{fffd}")))
}

/// Some servers write `null` for what they do not know.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

/// 16 MB: a peer that never ends its line must not fill our memory.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

fn too_long() -> Error {
    Error::new(Kind::BadGateway, "The backend sent a line of more than 16 MB.")
}

#[cfg(test)]
mod testing {
    use super::{Framing, Parser};
    use crate::{
        error::Result,
        types::{ChatEvent, Done},
    };

    /// The events of a reply of these frames, all of them arrived together, and its end.
    pub(super) fn parsed<P: Parser>(frames: &[&str]) -> Result<(Vec<ChatEvent>, Option<Done>)> {
        let (mut parser, mut events) = (P::default(), Vec::new());
        for frame in frames {
            parser.take(frame.as_bytes(), &mut events)?;
        }
        Ok((events, parser.finish()))
    }

    /// Pushes `stream` cut at `cuts` and gives all frames.
    pub(super) fn frames(mut framing: impl Framing, stream: &[u8], cuts: &[usize]) -> Vec<String> {
        let frame = |framing: &dyn Framing| String::from_utf8_lossy(framing.frame()).into_owned();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&stream.len())).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let (mut out, mut from) = (Vec::new(), 0);
        for cut in cuts {
            framing.push(&stream[from..cut]);
            from = cut;
            while framing.advance().expect("short frames") {
                out.push(frame(&framing));
            }
        }
        if framing.end() {
            out.push(frame(&framing));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Usage;

    fn usage<P: Parser>(frames: &[&str]) -> Usage {
        let (_, done) = testing::parsed::<P>(frames).expect("a reply");
        done.expect("an end").usage
    }

    #[test]
    fn absurd_counts_are_cut_in_every_protocol() {
        let most = Usage { prompt_tokens: u32::MAX.into(), completion_tokens: u32::MAX.into() };
        let line = r#"{"done":true,"prompt_eval_count":18446744073709551615,"eval_count":4294967296}"#;
        assert_eq!(usage::<ollama::LineParser>(&[line]), most);
        let chunk = r#"{"stop":true,"tokens_evaluated":18446744073709551615,"tokens_predicted":4294967296}"#;
        assert_eq!(usage::<llama::CompletionParser>(&[chunk]), most);
        let counts = r#""usage":{"prompt_tokens":18446744073709551615,"completion_tokens":4294967296}"#;
        let end = r#"{"choices":[{"finish_reason":"stop","delta":{}}]}"#;
        let reply = [end, &format!(r#"{{"choices":[],{counts}}}"#), "[DONE]"];
        assert_eq!(usage::<openai::ReplyParser>(&reply), most);
        let embedded = format!(r#"{{"data":[{{"index":0,"embedding":[1]}}],{counts}}}"#);
        let embedded = openai::parse_embeddings(embedded.as_bytes(), 1).expect("embeddings");
        assert_eq!(embedded.prompt_tokens, most.prompt_tokens);
        let embedded = r#"{"embeddings":[],"prompt_eval_count":18446744073709551615}"#;
        let embedded: ollama::EmbedAnswer = serde_json::from_str(embedded).expect("embeddings");
        assert_eq!(embedded.prompt_eval_count, most.prompt_tokens);
    }
}

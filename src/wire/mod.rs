//! Vendors' JSON and its framing, each format defined once, for `http/` and `backend/`. Pure: bytes and text
//! in, values out.

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

/// Splits a byte stream that arrives in pieces of any size into frames, in place.
pub trait Framing: Send {
    /// Appends the next piece of the stream.
    fn push(&mut self, piece: &[u8]);

    /// Advances to the next complete frame; false if more input is needed.
    ///
    /// # Errors
    /// `BadGateway` when a frame is longer than `MAX_FRAME`.
    fn advance(&mut self) -> Result<bool>;

    /// Advances to the remaining input after a proper end of the stream; false if there is none.
    fn end(&mut self) -> bool;

    /// Returns the current frame.
    fn frame(&self) -> &[u8];
}

/// Parser of the frames of one streamed reply into events.
pub trait Parser: Default + Send {
    /// Parses the next frame and appends its events to `out`, except for the end of the reply: see `finish`.
    ///
    /// # Errors
    /// `BadGateway` when the frame does not follow the protocol or reports an error.
    fn take(&mut self, frame: &[u8], out: &mut Vec<ChatEvent>) -> Result<()>;

    /// Whether the reply has ended, even if the connection is still open.
    fn is_closed(&self) -> bool;

    /// Returns the end of the reply; `None` if it was cut off.
    fn finish(self) -> Option<Done>;
}

/// Token count, limited to a plausible number, so that a wrong count from a backend does not ruin the totals.
fn tokens<'de, D: Deserializer<'de>>(count: D) -> Result<u64, D::Error> {
    or_default::<u64, D>(count).map(|count| count.min(u32::MAX.into()))
}

/// The same for a count that not every backend tells.
fn maybe_tokens<'de, D: Deserializer<'de>>(count: D) -> Result<Option<u64>, D::Error> {
    Option::<u64>::deserialize(count).map(|count| count.map(|count| count.min(u32::MAX.into())))
}

/// Text that may be shown in a terminal, without control characters.
fn printable<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    String::deserialize(text).map(|text| text.replace(char::is_control, "\u{fffd}"))
}

/// The same for an optional text.
fn maybe_printable<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(text)?;
    Ok(text.map(|text| text.replace(char::is_control, "\u{fffd}")))
}

/// Some servers write `null` for what they do not know.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

/// 16 MB, so that an endless line does not fill the memory.
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
        let max = u64::from(u32::MAX);
        let most = Usage { prompt_tokens: max, completion_tokens: max, ..Usage::default() };
        let line = r#"{"done":true,"prompt_eval_count":18446744073709551615,"eval_count":4294967296}"#;
        assert_eq!(usage::<ollama::LineParser>(&[line]), most);
        let chunk = r#"{"stop":true,"tokens_evaluated":18446744073709551615,"tokens_predicted":4294967296,
            "timings":{"cache_n":4294967296}}"#;
        let cached = Usage { cached_tokens: Some(max), ..most };
        assert_eq!(usage::<llama::CompletionParser>(&[chunk]), cached);
        let counts = r#""usage":{"prompt_tokens":18446744073709551615,"completion_tokens":4294967296,
            "prompt_tokens_details":{"cached_tokens":4294967296},
            "completion_tokens_details":{"reasoning_tokens":4294967296}}"#;
        let end = r#"{"choices":[{"finish_reason":"stop","delta":{}}]}"#;
        let reply = [end, &format!(r#"{{"choices":[],{counts}}}"#), "[DONE]"];
        let counted = Usage { reasoning_tokens: Some(max), ..cached };
        assert_eq!(usage::<openai::ReplyParser>(&reply), counted);
        let embedded = format!(r#"{{"data":[{{"index":0,"embedding":[1]}}],{counts}}}"#);
        let embedded = openai::parse_embeddings(embedded.as_bytes(), 1).expect("embeddings");
        assert_eq!(embedded.prompt_tokens, most.prompt_tokens);
        let embedded = r#"{"embeddings":[],"prompt_eval_count":18446744073709551615}"#;
        let embedded: ollama::EmbedAnswer = serde_json::from_str(embedded).expect("embeddings");
        assert_eq!(embedded.prompt_eval_count, most.prompt_tokens);
    }
}

//! Encoding of cached values. A value opens with one byte for its form; a value of another form, or one
//! that does not read, is a miss and never an error.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::{ChatEvent, FinishReason};

/// A list of events in postcard's form (<https://postcard.jamesmunns.com/wire-format>), which names
/// no fields: reading it costs a tenth of reading JSON, which was more than anything else in a hit.
/// Another number when a test says that the form of an event has changed. 1 was JSON, and 3 had fewer counts.
const EVENTS: u8 = 5;
const VECTOR: u8 = 2;
/// A vector of a text that was cut to what the model takes.
const VECTOR_OF_CUT: u8 = 4;

/// A log that is worth keeping, with neighbouring texts joined: `None` when it has no end, nothing
/// but thoughts in it, a call of a tool whose arguments are no object, or an end where the context was
/// full or a filter withheld the rest.
pub(super) fn from_events(events: Vec<ChatEvent>) -> Option<Bytes> {
    let Some((ChatEvent::Done(done), said)) = events.split_last() else { return None };
    let sound = !matches!(done.reason, FinishReason::Context | FinishReason::ContentFilter)
        && said.iter().any(|event| matches!(event, ChatEvent::Text(_) | ChatEvent::ToolCall(_)))
        && said.iter().all(|event| match event {
            ChatEvent::Done(_) => false,
            ChatEvent::ToolCall(call) => call.arguments.is_object(),
            ChatEvent::Text(_) | ChatEvent::Thinking(_) | ChatEvent::Logprobs(_) => true,
        });
    if !sound {
        return None;
    }
    let mut joined: Vec<ChatEvent> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (Some(ChatEvent::Text(text)), ChatEvent::Text(more))
            | (Some(ChatEvent::Thinking(text)), ChatEvent::Thinking(more)) => text.push_str(&more),
            (_, event) => joined.push(event),
        }
    }
    let value = postcard::to_extend(&joined, vec![EVENTS]).ok()?;
    Some(value.into())
}

pub(super) fn to_events(value: &[u8]) -> Option<Vec<ChatEvent>> {
    let (events, rest) = postcard::take_from_bytes::<Vec<ChatEvent>>(value.strip_prefix(&[EVENTS])?).ok()?;
    (rest.is_empty() && matches!(events.last(), Some(ChatEvent::Done(_)))).then_some(events)
}

/// The embedding of one text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Embedding {
    pub(super) vector: Arc<[f32]>,
    /// Whether the text was cut to what the model takes.
    pub(super) truncated: bool,
}

/// 4 bytes for each number, little endian.
pub(super) fn from_embedding(Embedding { vector, truncated }: &Embedding) -> Bytes {
    let mut value = Vec::with_capacity(1 + vector.len() * 4);
    value.push(if *truncated { VECTOR_OF_CUT } else { VECTOR });
    value.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
    value.into()
}

pub(super) fn to_embedding(value: &[u8]) -> Option<Embedding> {
    let (form, numbers) = value.split_first()?;
    let truncated = match *form {
        VECTOR => false,
        VECTOR_OF_CUT => true,
        _ => return None,
    };
    let (numbers, []) = numbers.as_chunks::<4>() else { return None };
    let vector: Arc<[f32]> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let is_sound = !vector.is_empty() && vector.iter().all(|number| number.is_finite());
    is_sound.then_some(Embedding { vector, truncated })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::types::{Done, FinishReason, JsonText, Timings, ToolCall, Usage};

    fn text(text: &str) -> ChatEvent {
        ChatEvent::Text(text.to_owned())
    }

    fn done() -> ChatEvent {
        ChatEvent::from(Done { context: Some(vec![1, 2]), ..Done::default() })
    }

    #[test]
    fn a_log_comes_back_with_its_texts_joined() {
        let call = ChatEvent::from(ToolCall {
            id: None,
            name: "f".into(),
            arguments: serde_json::json!({"a": 1}).into(),
        });
        let log = vec![
            ChatEvent::Thinking("h".into()),
            ChatEvent::Thinking("m".into()),
            text("a"),
            text("b"),
            call.clone(),
            done(),
        ];
        let value = from_events(log).expect("a sound log");
        assert_eq!(to_events(&value), Some(vec![ChatEvent::Thinking("hm".into()), text("ab"), call, done()]));
    }

    #[test]
    fn a_log_without_end_or_content_is_not_kept() {
        let broken = ChatEvent::from(ToolCall { id: None, name: "f".into(), arguments: JsonText::default() });
        let end = |reason| ChatEvent::from(Done { reason, ..Done::default() });
        for log in [
            vec![],
            vec![text("a")],
            vec![done()],
            vec![done(), done()],
            vec![broken, done()],
            vec![text("a"), end(FinishReason::Context)],
            vec![text("a"), end(FinishReason::ContentFilter)],
        ] {
            assert_eq!(from_events(log.clone()), None, "{log:?}");
        }
    }

    /// An entry of an older program must not be read as something else.
    #[test]
    fn the_form_of_a_log_is_what_its_number_says() {
        let call = ToolCall {
            id: Some("i".into()),
            name: "f".into(),
            arguments: serde_json::json!({"a": [1.5]}).into(),
        };
        let usage = Usage {
            prompt_tokens: 300,
            completion_tokens: 2,
            cached_tokens: Some(5),
            reasoning_tokens: None,
        };
        let (nano, minute) = (Duration::from_nanos(1), Duration::from_secs(60));
        let timings = Timings { total: minute, queue: Some(nano), load: nano, prompt_eval: nano, eval: nano };
        let context = Some(vec![7, 128]);
        let log = vec![
            ChatEvent::Text("a".into()),
            ChatEvent::Thinking("b".into()),
            ChatEvent::from(call),
            ChatEvent::from(Done { reason: FinishReason::StopSequence("S".into()), usage, timings, context }),
        ];
        let form = b"\x05\x04\x00\x01a\x01\x01b\x02\x01\x01i\x01f\x0b{\"a\":[1.5]}\
            \x03\x07\x01S\xac\x02\x02\x01\x05\x00\x3c\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01\x01\x02\x07\x80\x01";
        let value = from_events(log.clone()).expect("a sound log");
        assert_eq!(value[..], form[..], "if this is meant, EVENTS needs another number");
        assert_eq!(to_events(form), Some(log));
        // The text "a", written before there were cached tokens.
        let older = b"\x03\x02\x00\x01a\x03\x00\x07\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(to_events(older), None, "a miss");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_a_miss(bytes in prop::collection::vec(any::<u8>(), 0..200), form in 0u8..6) {
            let mut value = vec![form];
            value.extend(bytes);
            if let Some(embedding) = to_embedding(&value) {
                prop_assert_eq!(&from_embedding(&embedding)[..], &value[..]);
            }
            // By chance they may be a log, and then it is whole.
            let end = to_events(&value).map(|events| matches!(events.last(), Some(ChatEvent::Done(_))));
            prop_assert!(end.is_none_or(|done| done && form == EVENTS));
        }

        #[test]
        fn a_log_cut_off_or_longer_is_a_miss(text in ".{0,40}", cut in 1usize..40) {
            let value = from_events(vec![ChatEvent::Text(text), done()]).expect("a sound log");
            let short = value.len().saturating_sub(cut);
            prop_assert_eq!(to_events(&value[..short]), None);
            prop_assert_eq!(to_events(&[&value[..], &[0]].concat()), None);
        }

        #[test]
        fn a_vector_comes_back(
            vector in prop::collection::vec(-1e30f32..1e30, 1..900),
            truncated in any::<bool>(),
        ) {
            let embedding = Embedding { vector: vector.into(), truncated };
            let value = from_embedding(&embedding);
            prop_assert!(value.len() <= 1 + embedding.vector.len() * 4);
            prop_assert_eq!(to_embedding(&value), Some(embedding));
        }
    }
}

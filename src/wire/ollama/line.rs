//! Lines of a streamed answer.

use std::{borrow::Cow, fmt, time::Duration};

use memchr::{memchr, memchr2};
use serde::{Deserialize, Deserializer, de::Visitor};

use super::malformed;
use crate::{
    error::{Error, Kind, Result},
    types::{ChatEvent, Done, FinishReason, JsonText, Timings, ToolCall, Usage},
    wire::{Parser, foreign::loggable, or_default, tokens},
};

/// Parser of the lines of one reply of `/api/chat` or `/api/generate`.
#[derive(Default)]
pub struct LineParser {
    tool_calls_seen: bool,
    done: Option<Done>,
}

impl Parser for LineParser {
    fn take(&mut self, line: &[u8], out: &mut Vec<ChatEvent>) -> Result<()> {
        if let Some(text) = plain_text(line) {
            ChatEvent::push_text(out, Cow::Borrowed(text));
            return Ok(());
        }
        // Checked once, and not again for each text in it.
        let line = std::str::from_utf8(line).map_err(|error| malformed(serde::de::Error::custom(error)))?;
        let line: Line<'_> = serde_json::from_str(line).map_err(malformed)?;
        if let Some(message) = line.error {
            return Err(Error::new(Kind::BadGateway, "Ollama failed in the middle of its response.")
                .with_source(loggable(&message)));
        }
        self.take_line(line, out)
    }

    fn is_closed(&self) -> bool {
        self.done.is_some()
    }

    fn finish(self) -> Option<Done> {
        self.done
    }
}

impl LineParser {
    fn take_line(&mut self, line: Line<'_>, out: &mut Vec<ChatEvent>) -> Result<()> {
        let (text, thinking, calls) = match line.message {
            Some(message) => (message.content, message.thinking, message.tool_calls),
            None => (line.response, line.thinking, Vec::new()),
        };
        ChatEvent::push_thinking(out, thinking.0);
        ChatEvent::push_text(out, text.0);
        self.tool_calls_seen |= !calls.is_empty();
        for ToolCallLine { id, function: FunctionLine { name, arguments } } in calls {
            let arguments = ToolCall::arguments(&arguments).ok_or_else(|| {
                let message = "The model called a tool with arguments that are not a JSON object.";
                Error::new(Kind::BadGateway, message)
            })?;
            out.push(ToolCall { id, name, arguments }.into());
        }
        if line.done {
            self.done = Some(Done {
                reason: match &*line.done_reason.0 {
                    "length" => FinishReason::Length,
                    _ if self.tool_calls_seen => FinishReason::ToolCalls,
                    _ => FinishReason::Stop,
                },
                usage: Usage {
                    prompt_tokens: line.prompt_eval_count,
                    completion_tokens: line.eval_count,
                    ..Usage::default()
                },
                timings: Timings {
                    total: Duration::from_nanos(line.total_duration),
                    queue: None,
                    load: Duration::from_nanos(line.load_duration),
                    prompt_eval: Duration::from_nanos(line.prompt_eval_duration),
                    eval: Duration::from_nanos(line.eval_duration),
                },
                context: line.context,
            });
        }
        Ok(())
    }
}

/// The text of a line that says nothing else and is spelled as Ollama spells it, as nearly all are:
/// this takes a tenth of the time that it takes to parse any JSON. None for all others.
fn plain_text(line: &[u8]) -> Option<&str> {
    let line = line.strip_prefix(br#"{"model":""#)?;
    let line = after_text(line)?.strip_prefix(br#"","created_at":""#)?;
    let line = after_text(line)?;
    let text = if let Some(rest) = line.strip_prefix(br#"","message":{"role":"assistant","content":""#) {
        rest.strip_suffix(br#""},"done":false}"#)?
    } else {
        line.strip_prefix(br#"","response":""#)?.strip_suffix(br#"","done":false}"#)?
    };
    let has_controls = text.iter().fold(false, |found, &byte| found | (byte < b' '));
    let is_plain = memchr2(b'"', b'\\', text).is_none() && !has_controls;
    is_plain.then(|| std::str::from_utf8(text).ok()).flatten()
}

/// From the next quote on. A quote that is part of a text has a backslash before it, and then what we
/// take for the next field is none: such a line is no JSON.
fn after_text(line: &[u8]) -> Option<&[u8]> {
    memchr(b'"', line).map(|at| &line[at..])
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    error: Option<String>,
    #[serde(borrow, default)]
    message: Option<LineMessage<'a>>,
    #[serde(borrow, default)]
    response: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
    #[serde(default, deserialize_with = "or_default")]
    done: bool,
    #[serde(borrow, default)]
    done_reason: Text<'a>,
    #[serde(default)]
    context: Option<Vec<u32>>,
    #[serde(default, deserialize_with = "or_default")]
    total_duration: u64,
    #[serde(default, deserialize_with = "or_default")]
    load_duration: u64,
    #[serde(default, deserialize_with = "tokens")]
    prompt_eval_count: u64,
    #[serde(default, deserialize_with = "or_default")]
    prompt_eval_duration: u64,
    #[serde(default, deserialize_with = "tokens")]
    eval_count: u64,
    #[serde(default, deserialize_with = "or_default")]
    eval_duration: u64,
}

#[derive(Deserialize)]
struct LineMessage<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
    #[serde(default, deserialize_with = "or_default")]
    tool_calls: Vec<ToolCallLine>,
}

#[derive(Deserialize)]
struct ToolCallLine {
    #[serde(default)]
    id: Option<String>,
    function: FunctionLine,
}

#[derive(Deserialize)]
struct FunctionLine {
    name: String,
    #[serde(default)]
    arguments: JsonText,
}

/// A text that stays where it is unless it has escapes; absent and null are empty. (serde borrows a
/// plain `Cow`, and none within an `Option`.)
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(Borrow)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(frames: &[&str]) -> Result<(Vec<ChatEvent>, Option<Done>)> {
        crate::wire::testing::parsed::<LineParser>(frames)
    }

    #[test]
    fn reads_the_lines_of_a_real_server() {
        // Recorded from the examples of Ollama's docs/api.md.
        let (events, done) = parse(&[
            r#"{"model":"llama3.2","created_at":"2023-08-04T08:52:19.385406455-07:00","message":{"role":"assistant","content":"The","images":null},"done":false}"#,
            r#"{"model":"llama3.2","response":"a\nb","done":false}"#,
            r#"{"model":"llama3.2","created_at":"2023-08-04T19:22:45.499127Z","response":"","done":true,"done_reason":"stop","context":[1,2,3],"total_duration":10706818083,"load_duration":6338219291,"prompt_eval_count":26,"prompt_eval_duration":130079000,"eval_count":259,"eval_duration":4232710000}"#,
        ])
        .expect("a reply");
        assert_eq!(events, [ChatEvent::Text("Thea\nb".into())]);
        let done = done.expect("an end");
        assert_eq!(done.usage, Usage { prompt_tokens: 26, completion_tokens: 259, ..Usage::default() });
        assert_eq!(done.context.as_deref(), Some(&[1, 2, 3][..]));
        assert_eq!(done.timings.total, Duration::from_nanos(10_706_818_083));
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let (events, done) = parse(&[
            r#"{"model":"m","message":{"role":"assistant","content":"a","thinking":null,"tool_calls":null},"done":null}"#,
            r#"{"message":null,"done":true,"done_reason":null,"context":null,"total_duration":null,"prompt_eval_count":null}"#,
        ])
        .expect("a reply");
        assert_eq!(events, [ChatEvent::Text("a".into())]);
        assert_eq!(done, Some(Done::default()));
    }

    #[test]
    fn reads_tool_calls_and_thinking() {
        let (events, _) = parse(&[
            r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#,
        ])
        .expect("a line");
        let call = ToolCall { id: None, name: "f".into(), arguments: json!({"a": 1}).into() };
        assert_eq!(events, [ChatEvent::Thinking("hm".into()), call.into()]);
    }

    /// As Ollama writes it, in its order.
    fn chat_line(model: &str, content: &str, done: bool) -> String {
        let (model, content) = (json!(model), json!(content));
        format!(
            r#"{{"model":{model},"created_at":"2025-10-01T12:00:00Z","message":{{"role":"assistant","content":{content}}},"done":{done}}}"#
        )
    }

    #[test]
    fn only_what_is_nothing_but_text_takes_the_short_way() {
        let line = chat_line("a:b", " Päris", false);
        assert_eq!(plain_text(line.as_bytes()), Some(" Päris"));
        let generate = r#"{"model":"a:b","created_at":"2025-10-01T12:00:00Z","response":"{a}","done":false}"#;
        assert_eq!(plain_text(generate.as_bytes()), Some("{a}"));
        let failed = r#"","error":"no memory"#;
        for other in [
            line.replace("a:b", &format!("a{failed}")),
            line.replace("00Z", &format!("00Z{failed}")),
            line.replace("Päris", &format!("Päris{failed}")),
            line.replace(r#""},"done""#, r#""},"error":"no memory","done""#),
            line.replace(r#"" Päris""#, "null"),
            line.replace("Päris", "\t"),
        ] {
            assert_ne!(other, line);
            assert_eq!(plain_text(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        /// The short way says what the long one says, and is taken whenever it can be.
        #[test]
        fn plain_text_is_what_json_says(
            model in r#"[a-z:"\\]{0,4}"#,
            text in "[a-zé \"\\\\\n]{0,8}",
            done in any::<bool>(),
        ) {
            let is_plain = json!(text).to_string().len() == text.len() + 2;
            let expected = (is_plain && !model.contains('"') && !done).then_some(text.as_str());
            let line = chat_line(&model, &text, done);
            prop_assert_eq!(plain_text(line.as_bytes()), expected);
        }
    }
}

//! What an Ollama server answers.

use std::{borrow::Cow, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::Value;

use crate::types::{ChatEvent, Done, FinishReason, Timings, ToolCall, Usage};

/// One line of `/api/chat` or `/api/generate`.
#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(default)]
    error: Option<String>,
    #[serde(borrow, default)]
    message: Option<LineMessage<'a>>,
    #[serde(borrow, default)]
    response: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
    #[serde(default)]
    done: bool,
    #[serde(borrow, default)]
    done_reason: Text<'a>,
    #[serde(default)]
    context: Option<Vec<u32>>,
    #[serde(default)]
    total_duration: u64,
    #[serde(default)]
    load_duration: u64,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    prompt_eval_duration: u64,
    #[serde(default)]
    eval_count: u64,
    #[serde(default)]
    eval_duration: u64,
}

#[derive(Deserialize)]
struct LineMessage<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    thinking: Text<'a>,
    #[serde(default)]
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
    arguments: Value,
}

impl Line<'_> {
    /// What the server says went wrong, when it says so instead of going on.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Appends the events of this line, in order.
    pub fn events(self, out: &mut Vec<ChatEvent>, tool_calls_seen: &mut bool) {
        let (text, thinking, calls) = match self.message {
            Some(message) => (message.content, message.thinking, message.tool_calls),
            None => (self.response, self.thinking, Vec::new()),
        };
        let filled = |Text(text): Text<'_>| (!text.is_empty()).then(|| text.into_owned());
        out.extend(filled(thinking).map(ChatEvent::Thinking));
        out.extend(filled(text).map(ChatEvent::Text));
        *tool_calls_seen |= !calls.is_empty();
        out.extend(calls.into_iter().map(|call| {
            ChatEvent::from(ToolCall {
                id: call.id,
                name: call.function.name,
                arguments: call.function.arguments,
            })
        }));
        if self.done {
            let reason = match &*self.done_reason.0 {
                "length" => FinishReason::Length,
                _ if *tool_calls_seen => FinishReason::ToolCalls,
                _ => FinishReason::Stop,
            };
            out.push(ChatEvent::from(Done {
                reason,
                usage: Usage { prompt_tokens: self.prompt_eval_count, completion_tokens: self.eval_count },
                timings: Timings {
                    total: Duration::from_nanos(self.total_duration),
                    queue: None,
                    load: Duration::from_nanos(self.load_duration),
                    prompt_eval: Duration::from_nanos(self.prompt_eval_duration),
                    eval: Duration::from_nanos(self.eval_duration),
                },
                context: self.context,
            }));
        }
    }
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

#[derive(Deserialize)]
pub struct ErrorBody {
    pub error: String,
}

#[derive(Deserialize)]
pub struct EmbedAnswer {
    pub embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    pub total_duration: u64,
    #[serde(default)]
    pub load_duration: u64,
    #[serde(default)]
    pub prompt_eval_count: u64,
}

#[derive(Deserialize)]
pub struct Tags {
    pub models: Vec<TagModel>,
}

#[derive(Deserialize)]
pub struct TagModel {
    pub name: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    #[serde(default)]
    pub digest: String,
    #[serde(default)]
    pub details: Details,
}

#[derive(Clone, Default, Deserialize)]
pub struct Details {
    pub family: Option<String>,
    pub parameter_size: Option<String>,
    pub quantization_level: Option<String>,
}

/// The part of `/api/show` that we use.
#[derive(Deserialize)]
pub struct Show {
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub model_info: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
pub struct Version {
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(line: &str) -> Vec<ChatEvent> {
        let mut out = Vec::new();
        serde_json::from_str::<Line<'_>>(line).expect("a line").events(&mut out, &mut false);
        out
    }

    #[test]
    fn reads_the_lines_of_a_real_server() {
        // Recorded from the examples of Ollama's docs/api.md.
        assert_eq!(
            events(
                r#"{"model":"llama3.2","created_at":"2023-08-04T08:52:19.385406455-07:00","message":{"role":"assistant","content":"The","images":null},"done":false}"#
            ),
            [ChatEvent::Text("The".into())]
        );
        assert_eq!(
            events(r#"{"model":"llama3.2","response":"a\nb","done":false}"#),
            [ChatEvent::Text("a\nb".into())]
        );
        let last = events(
            r#"{"model":"llama3.2","created_at":"2023-08-04T19:22:45.499127Z","response":"","done":true,"done_reason":"stop","context":[1,2,3],"total_duration":10706818083,"load_duration":6338219291,"prompt_eval_count":26,"prompt_eval_duration":130079000,"eval_count":259,"eval_duration":4232710000}"#,
        );
        let [ChatEvent::Done(done)] = &last[..] else { panic!("{last:?}") };
        assert_eq!(done.usage, Usage { prompt_tokens: 26, completion_tokens: 259 });
        assert_eq!(done.context.as_deref(), Some(&[1, 2, 3][..]));
        assert_eq!(done.timings.total, Duration::from_nanos(10_706_818_083));
    }

    #[test]
    fn reads_tool_calls_and_thinking() {
        assert_eq!(
            events(
                r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#
            ),
            [
                ChatEvent::Thinking("hm".into()),
                ChatEvent::from(ToolCall {
                    id: None,
                    name: "f".into(),
                    arguments: serde_json::json!({"a": 1})
                })
            ]
        );
    }
}

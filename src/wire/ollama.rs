//! Ollama's JSON (docs/api.md of ollama/ollama): what we send to an Ollama server, what it answers,
//! and the same shapes as our native API serves them. Durations are integer nanoseconds.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::{
    ChatEvent, Completion, Done, FinishReason, Format, KeepAlive, Message, Sampling, Timings, Tool, ToolCall,
    Usage,
};

// What we send

#[derive(Serialize)]
pub struct ChatBody<'a> {
    pub model: &'a str,
    pub messages: Vec<MessageBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Value>,
    #[serde(flatten)]
    pub common: CommonBody<'a>,
}

#[derive(Serialize)]
pub struct GenerateBody<'a> {
    pub model: &'a str,
    pub prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    #[serde(flatten)]
    pub common: CommonBody<'a>,
}

#[derive(Serialize)]
pub struct CommonBody<'a> {
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Cow<'a, Value>>,
    options: OptionsBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
}

#[derive(Serialize)]
struct OptionsBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

impl<'a> CommonBody<'a> {
    pub fn new(format: &'a Format, sampling: &'a Sampling, keep_alive: Option<KeepAlive>) -> Self {
        Self {
            stream: true,
            format: match format {
                Format::Text => None,
                Format::Json => Some(Cow::Owned(Value::from("json"))),
                Format::Schema(schema) => Some(Cow::Borrowed(schema)),
            },
            options: OptionsBody {
                temperature: sampling.temperature,
                top_p: sampling.top_p,
                top_k: sampling.top_k,
                seed: sampling.seed,
                stop: &sampling.stop,
                num_predict: sampling.max_tokens,
            },
            keep_alive: keep_alive.map(|keep_alive| keep_alive.to_string()),
        }
    }
}

impl<'a> GenerateBody<'a> {
    pub fn new(model: &'a str, completion: &'a Completion, common: CommonBody<'a>) -> Self {
        Self {
            model,
            prompt: &completion.text,
            system: completion.system.as_deref(),
            images: completion.images.iter().map(|image| image.to_base64()).collect(),
            context: completion.context.as_deref(),
            raw: completion.raw,
            common,
        }
    }
}

#[derive(Serialize)]
pub struct MessageBody<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

impl<'a> From<&'a Message> for MessageBody<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            role: message.role.as_str(),
            content: &message.content,
            images: message.images.iter().map(|image| image.to_base64()).collect(),
            tool_calls: message.tool_calls.iter().map(ToolCallBody::from).collect(),
            tool_name: message.tool_name.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ToolCallBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: FunctionBody<'a>,
}

#[derive(Serialize)]
struct FunctionBody<'a> {
    name: &'a str,
    arguments: &'a Value,
}

impl<'a> From<&'a ToolCall> for ToolCallBody<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self {
            id: call.id.as_deref(),
            function: FunctionBody { name: &call.name, arguments: &call.arguments },
        }
    }
}

pub fn tool_body(tool: &Tool) -> Value {
    let mut function = serde_json::json!({ "name": tool.name, "parameters": tool.parameters });
    if let Some(description) = &tool.description {
        function["description"] = Value::from(description.as_str());
    }
    serde_json::json!({ "type": "function", "function": function })
}

#[derive(Serialize)]
pub struct EmbedBody<'a> {
    pub model: &'a str,
    pub input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
}

// What it answers

/// One line of `/api/chat` or `/api/generate`.
#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<LineMessage<'a>>,
    #[serde(borrow, default)]
    response: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
    #[serde(default)]
    done: bool,
    #[serde(borrow, default)]
    done_reason: Option<Cow<'a, str>>,
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
    content: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
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
            Some(message) => (Some(message.content), message.thinking, message.tool_calls),
            None => (self.response, self.thinking, Vec::new()),
        };
        let filled = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
        out.extend(filled(thinking).map(ChatEvent::Thinking));
        out.extend(filled(text).map(ChatEvent::Text));
        *tool_calls_seen |= !calls.is_empty();
        out.extend(calls.into_iter().map(|call| {
            ChatEvent::ToolCall(ToolCall {
                id: call.id,
                name: call.function.name,
                arguments: call.function.arguments,
            })
        }));
        if self.done {
            let reason = match self.done_reason.as_deref() {
                Some("length") => FinishReason::Length,
                _ if *tool_calls_seen => FinishReason::ToolCalls,
                _ => FinishReason::Stop,
            };
            out.push(ChatEvent::Done(Done {
                reason,
                usage: Usage { prompt_tokens: self.prompt_eval_count, completion_tokens: self.eval_count },
                timings: Timings {
                    total: Duration::from_nanos(self.total_duration),
                    load: Duration::from_nanos(self.load_duration),
                    prompt_eval: Duration::from_nanos(self.prompt_eval_duration),
                    eval: Duration::from_nanos(self.eval_duration),
                },
                context: self.context,
            }));
        }
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

// The same shapes as we serve them

/// A chunk of `/inference/chat`, or with every field filled the whole reply.
#[derive(Serialize)]
pub struct ChatChunk<'a> {
    pub model: &'a str,
    pub message: MessageChunk<'a>,
    pub done: bool,
    #[serde(flatten)]
    pub end: Option<End<'a>>,
}

#[derive(Serialize)]
pub struct MessageChunk<'a> {
    pub role: &'static str,
    pub content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "<[ToolCallChunk]>::is_empty")]
    pub tool_calls: &'a [ToolCallChunk<'a>],
}

#[derive(Serialize)]
pub struct ToolCallChunk<'a>(ToolCallBody<'a>);

impl<'a> From<&'a ToolCall> for ToolCallChunk<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self(call.into())
    }
}

/// A chunk of `/inference/generate`, or with every field filled the whole reply.
#[derive(Serialize)]
pub struct GenerateChunk<'a> {
    pub model: &'a str,
    pub response: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<&'a str>,
    pub done: bool,
    #[serde(flatten)]
    pub end: Option<End<'a>>,
}

/// What the last chunk adds.
#[derive(Serialize)]
pub struct End<'a> {
    done_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a [u32]>,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: u64,
    eval_duration: u64,
}

impl<'a> From<&'a Done> for End<'a> {
    fn from(done: &'a Done) -> Self {
        Self {
            // Ollama says `stop` when the model asks for tools, too.
            done_reason: match done.reason {
                FinishReason::Stop | FinishReason::ToolCalls => "stop",
                FinishReason::Length => "length",
            },
            context: done.context.as_deref(),
            total_duration: nanos(done.timings.total),
            load_duration: nanos(done.timings.load),
            prompt_eval_count: done.usage.prompt_tokens,
            prompt_eval_duration: nanos(done.timings.prompt_eval),
            eval_count: done.usage.completion_tokens,
            eval_duration: nanos(done.timings.eval),
        }
    }
}

/// Integer nanoseconds; saturates after 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
                ChatEvent::ToolCall(ToolCall {
                    id: None,
                    name: "f".into(),
                    arguments: serde_json::json!({"a": 1})
                })
            ]
        );
    }

    #[test]
    fn absent_options_are_not_sent() {
        let (format, sampling) = (Format::Text, Sampling::default());
        let body = GenerateBody::new(
            "m",
            &Completion { text: "hi".into(), ..Default::default() },
            CommonBody::new(&format, &sampling, None),
        )
        .json();
        assert_eq!(body, r#"{"model":"m","prompt":"hi","stream":true,"options":{}}"#);
    }

    trait Json: Serialize {
        fn json(&self) -> String {
            serde_json::to_string(self).expect("serializes")
        }
    }
    impl<T: Serialize> Json for T {}
}

//! A chat: what is asked, and the events of which an answer is made. Every endpoint that produces
//! text builds one `ChatRequest`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{JsonText, KeepAlive, Timings, Usage, json_text};
use crate::images::Image;

/// One request for text, whichever endpoint it came by.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The resolved name of an existing model.
    pub model: String,
    pub prompt: Prompt,
    pub tools: Vec<Tool>,
    pub format: Format,
    pub sampling: Sampling,
    /// Whether, and how long, the model thinks before it answers; the model's default when absent.
    pub think: Option<Think>,
    /// How long the model stays loaded after this request; the backend's default when absent.
    pub keep_alive: Option<KeepAlive>,
}

impl ChatRequest {
    /// Bytes of its texts, images and JSON, about.
    pub fn size(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let maybe = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let images = |images: &[Image]| images.iter().map(|image| image.file().len()).sum::<usize>();
        let call = |call: &ToolCall| call.name.len() + maybe(&call.id) + call.arguments.get().len();
        let message = |message: &Message| {
            let Message { role: _, content, images: files, tool_calls, tool_call_id, tool_name } = message;
            let calls: usize = tool_calls.iter().map(call).sum();
            content.len() + images(files) + calls + maybe(tool_call_id) + maybe(tool_name)
        };
        let tool = |Tool { name, description, parameters }: &Tool| {
            name.len() + maybe(description) + parameters.get().len()
        };
        let Self { model: _, prompt, tools, format, sampling, think: _, keep_alive: _ } = self;
        let prompt = match prompt {
            Prompt::Messages(messages) => messages.iter().map(message).sum(),
            Prompt::Completion(Completion { text, system, images: files, context, raw: _ }) => {
                let context = context.as_ref().map_or(0, |ids| size_of_val(&**ids));
                text.len() + maybe(system) + images(files) + context
            }
        };
        let format = if let Format::Schema(schema) = format { schema.get().len() } else { 0 };
        prompt + tools.iter().map(tool).sum::<usize>() + format + texts(&sampling.stop)
    }
}

/// How long a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Think {
    Off,
    /// As long as it does by itself.
    On,
    Low,
    Medium,
    High,
}

impl Think {
    pub fn is_on(self) -> bool {
        self != Self::Off
    }

    /// The word for how long, when there is one.
    pub fn effort(self) -> Option<&'static str> {
        match self {
            Self::Off | Self::On => None,
            Self::Low => Some("low"),
            Self::Medium => Some("medium"),
            Self::High => Some("high"),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Prompt {
    /// A conversation; at least one message.
    Messages(Vec<Message>),
    /// A single prompt, as `/inference/generate` takes it.
    Completion(Completion),
}

#[derive(Clone, Debug, Default)]
pub struct Completion {
    pub text: String,
    pub system: Option<String>,
    pub images: Vec<Image>,
    /// Token ids from an earlier response that this prompt continues.
    pub context: Option<Vec<u32>>,
    /// Send `text` as it is, without the model's chat template.
    pub raw: bool,
}

impl Completion {
    /// The conversation that means the same: an optional system message and one user message.
    pub fn into_messages(self) -> Vec<Message> {
        let system = self.system.map(|text| Message::new(Role::System, text));
        let mut user = Message::new(Role::User, self.text);
        user.images = self.images;
        system.into_iter().chain([user]).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The name that every vendor's JSON uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub role: Role,
    pub content: String,
    pub images: Vec<Image>,
    /// Tool calls the assistant made in an earlier turn.
    pub tool_calls: Vec<ToolCall>,
    /// For `Role::Tool`: the call that this message answers.
    pub tool_call_id: Option<String>,
    /// For `Role::Tool`: the name of the tool that was called.
    pub tool_name: Option<String>,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            tool_name: None,
        }
    }

    /// Names the tool in each of its answers that only has the id of a call, as some models want it.
    pub fn name_tools(messages: &mut [Self]) {
        for at in 1..messages.len() {
            let (earlier, rest) = messages.split_at_mut(at);
            let message = &mut rest[0];
            if message.role != Role::Tool || message.tool_name.is_some() || message.tool_call_id.is_none() {
                continue;
            }
            let mut calls = earlier.iter().rev().flat_map(|message| &message.tool_calls);
            let call = calls.find(|call| call.id == message.tool_call_id);
            message.tool_name = call.map(|call| call.name.clone());
        }
    }
}

/// A function the model may ask the caller to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON Schema object.
    pub parameters: JsonText,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: Option<String>,
    pub name: String,
    /// A JSON object.
    #[serde(with = "json_text::as_string")]
    pub arguments: JsonText,
}

impl ToolCall {
    /// The arguments of a call, however they are given: an object, one written as a text, or nothing
    /// (null, an empty text). `None` for what is no object.
    pub fn arguments(given: &JsonText) -> Option<JsonText> {
        let written = given.to_text();
        let inner = match &written {
            Some(text) if text.trim().is_empty() => None,
            Some(text) => Some(serde_json::from_str(text).ok()?),
            None => Some(given.clone()),
        };
        match inner {
            None => Some(JsonText::empty_object()),
            Some(inner) if inner.is_null() => Some(JsonText::empty_object()),
            Some(inner) => inner.is_object().then_some(inner),
        }
    }
}

/// The shape the answer must have.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Format {
    #[default]
    Text,
    /// Any JSON value.
    Json,
    /// JSON that fits this JSON Schema.
    Schema(JsonText),
}

/// How tokens are drawn; an absent field is the backend's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 (greedy) to 2.
    pub temperature: Option<f32>,
    /// 0 to 1.
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    pub max_tokens: Option<u32>,
}

/// A reply is a log of these; exactly one `Done`, which is the last. The rare ones are boxed: most
/// are texts, and each is moved often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChatEvent {
    Text(String),
    /// Reasoning that a thinking model writes before its answer.
    Thinking(String),
    ToolCall(Box<ToolCall>),
    Done(Box<Done>),
}

impl ChatEvent {
    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        let held = match self {
            Self::Text(text) | Self::Thinking(text) => text.len(),
            Self::ToolCall(call) => size_of::<ToolCall>() + call.name.len() + call.arguments.get().len(),
            Self::Done(done) => {
                size_of::<Done>() + done.context.as_ref().map_or(0, |ids| size_of_val(&**ids))
            }
        };
        size_of::<Self>() + held
    }

    /// Appends a text to events of a reply that have arrived together: to the last of them when that
    /// is a text, too, since each event costs as much as many bytes. An empty text says nothing.
    pub fn push_text(events: &mut Vec<Self>, text: Cow<'_, str>) {
        match events.last_mut() {
            Some(Self::Text(last)) => append(last, &text),
            _ if text.is_empty() => {}
            _ => events.push(Self::Text(text.into_owned())),
        }
    }

    /// The same for what is thought.
    pub fn push_thinking(events: &mut Vec<Self>, text: Cow<'_, str>) {
        match events.last_mut() {
            Some(Self::Thinking(last)) => append(last, &text),
            _ if text.is_empty() => {}
            _ => events.push(Self::Thinking(text.into_owned())),
        }
    }
}

/// Where one more token has arrived, there are likely to be many, each of a few bytes.
fn append(text: &mut String, more: &str) {
    if text.capacity() - text.len() < more.len() {
        text.reserve(more.len().max(256));
    }
    text.push_str(more);
}

impl From<ToolCall> for ChatEvent {
    fn from(call: ToolCall) -> Self {
        Self::ToolCall(Box::new(call))
    }
}

impl From<Done> for ChatEvent {
    fn from(done: Done) -> Self {
        Self::Done(Box::new(done))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub reason: FinishReason,
    pub usage: Usage,
    pub timings: Timings,
    /// Token ids with which a later `Completion` can go on, where the backend gives them.
    pub context: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, Eq)]
pub enum FinishReason {
    /// The model ended its answer, or a stop sequence did.
    #[default]
    Stop,
    /// `max_tokens` was reached.
    Length,
    /// The model asks for tools to be run.
    ToolCalls,
    /// The context was full before the answer had ended.
    Context,
    /// Nothing was asked: the model is loaded.
    Load,
    /// Nothing was asked: the model goes, when nobody uses it.
    Unload,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_an_object_or_none() {
        for (given, expected) in [
            (json!({"a": 1}), Some("{\"a\":1}")),
            (json!("{\"a\": 1}"), Some("{\"a\":1}")),
            (json!(null), Some("{}")),
            (json!(""), Some("{}")),
            (json!(" \n"), Some("{}")),
            (json!("null"), Some("{}")),
            (json!([1]), None),
            (json!(5), None),
            (json!("[1]"), None),
            (json!("\"{}\""), None),
            (json!("{"), None),
        ] {
            let arguments = ToolCall::arguments(&given.clone().into());
            assert_eq!(arguments.as_ref().map(JsonText::get), expected, "{given}");
        }
    }

    #[test]
    fn answers_of_tools_are_named_by_their_calls() {
        let call = |id: &str, name: &str| ToolCall {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            arguments: JsonText::empty_object(),
        };
        let asks = |calls| Message { tool_calls: calls, ..Message::new(Role::Assistant, "") };
        let answers =
            |id: &str| Message { tool_call_id: Some(id.to_owned()), ..Message::new(Role::Tool, "") };
        let named = Message { tool_name: Some("own".to_owned()), ..answers("1") };
        let mut turns = vec![
            asks(vec![call("1", "a"), call("2", "b")]),
            answers("2"),
            answers("1"),
            named,
            asks(vec![call("1", "c")]),
            answers("1"),
            answers("3"),
        ];
        Message::name_tools(&mut turns);
        let names: Vec<_> = turns.iter().map(|turn| turn.tool_name.as_deref()).collect();
        assert_eq!(names, [None, Some("b"), Some("a"), Some("own"), None, Some("c"), None]);
    }
}

//! A chat: what is asked, and the events of which an answer is made. Every endpoint that produces
//! text builds one `ChatRequest`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Image, JsonText, KeepAlive, Timings, Usage, json_text};

/// One request for text, whichever endpoint it came by.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The resolved name of an existing model.
    pub model: String,
    pub prompt: Prompt,
    pub tools: Vec<Tool>,
    pub format: Format,
    pub sampling: Sampling,
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
        let Self { model: _, prompt, tools, format, sampling, keep_alive: _ } = self;
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
    /// Token ids of an earlier reply which this prompt continues.
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
    /// What the assistant asked for in an earlier turn.
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
    /// What a reasoning model thinks before it answers.
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
    /// `max_tokens` or the end of the context.
    Length,
    /// The model asks for tools to be run.
    ToolCalls,
}

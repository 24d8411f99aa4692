//! A chat: what is asked, and the events of which an answer is made. Every endpoint that produces
//! text builds one `ChatRequest`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    JsonText, KeepAlive, Message, Part, Role, Sampling, Timings, TokenLogprob, Tool, ToolCall, ToolChoice,
    Usage,
};
use crate::images::Image;

/// One request for text, whichever endpoint it came by.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The resolved name of an existing model.
    pub model: String,
    pub prompt: Prompt,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// Whether an answer may call more than one tool.
    pub parallel_tool_calls: bool,
    pub format: Format,
    pub sampling: Sampling,
    /// Whether the reply tells the probability of each token, and of how many others at its place.
    pub logprobs: Option<u8>,
    /// Whether, and how long, the model thinks before it answers; the model's default when absent.
    pub think: Option<Think>,
    /// Tokens of prompt and answer together that the backend is asked to make room for; its own choice when absent.
    pub context_size: Option<u32>,
    /// How long the model stays loaded after this request; the backend's default when absent.
    pub keep_alive: Option<KeepAlive>,
}

impl ChatRequest {
    /// Returns a request that leaves everything else to the model and its backend.
    pub fn new(model: impl Into<String>, prompt: Prompt) -> Self {
        Self {
            model: model.into(),
            prompt,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            format: Format::Text,
            sampling: Sampling::default(),
            logprobs: None,
            think: None,
            context_size: None,
            keep_alive: None,
        }
    }

    /// Returns the tools that the model may call.
    pub fn offered_tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| match &self.tool_choice {
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::None => false,
            ToolChoice::Named(name) => tool.name == *name,
        })
    }

    /// Bytes of its texts, images and JSON, about.
    pub fn size(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let maybe = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let part = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image(image) => image.file().len(),
        };
        let call = |call: &ToolCall| call.name.len() + maybe(&call.id) + call.arguments.get().len();
        let message = |message: &Message| {
            let Message { role: _, content, tool_calls, tool_call_id, tool_name } = message;
            let (content, calls) = (content.iter().map(part), tool_calls.iter().map(call));
            content.chain(calls).sum::<usize>() + maybe(tool_call_id) + maybe(tool_name)
        };
        let tool = |Tool { name, description, parameters }: &Tool| {
            name.len() + maybe(description) + parameters.get().len()
        };
        let Self {
            model: _,
            prompt,
            tools,
            tool_choice: _,
            parallel_tool_calls: _,
            format,
            sampling,
            logprobs: _,
            think: _,
            context_size: _,
            keep_alive: _,
        } = self;
        let prompt = match prompt {
            Prompt::Messages(messages) => messages.iter().map(message).sum(),
            Prompt::Completion(Completion { text, suffix, system, template, images, context, raw: _ }) => {
                let context = context.as_ref().map_or(0, |ids| size_of_val(&**ids));
                let images = images.iter().map(|image| image.file().len()).sum::<usize>();
                text.len() + maybe(suffix) + maybe(system) + maybe(template) + images + context
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
    /// A conversation.
    Messages(Vec<Message>),
    /// A single prompt, as `/inference/generate` takes it.
    Completion(Completion),
}

impl Prompt {
    /// Whether nothing is asked: the model is then only loaded.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Messages(messages) => messages.is_empty(),
            Self::Completion(completion) => completion.text.is_empty(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Completion {
    pub text: String,
    /// Text after the gap that the answer fills; `text` is the one before it.
    pub suffix: Option<String>,
    pub system: Option<String>,
    /// Template in the language of Go's, in place of the model's.
    pub template: Option<String>,
    pub images: Vec<Image>,
    /// Token ids from an earlier response that this prompt continues.
    pub context: Option<Vec<u32>>,
    /// Send `text` as it is, without the model's chat template.
    pub raw: bool,
}

impl Completion {
    /// Whether it goes to the model without the chat template.
    pub fn is_raw(&self) -> bool {
        self.raw || self.suffix.is_some()
    }

    /// The conversation that means the same: an optional system message and one user message.
    pub fn into_messages(self) -> Vec<Message> {
        let system = self.system.map(|text| Message::new(Role::System, text));
        let user = Message::new(Role::User, self.text).with_images(self.images);
        system.into_iter().chain([user]).collect()
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

/// A reply is a log of these; exactly one `Done`, which is the last. The rare ones are boxed: most
/// are texts, and each is moved often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChatEvent {
    Text(String),
    /// Reasoning that a thinking model writes before its answer.
    Thinking(String),
    ToolCall(Box<ToolCall>),
    Done(Box<Done>),
    /// Of the texts that follow, where they were asked for.
    Logprobs(Vec<TokenLogprob>),
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
            // With what their texts hold, about.
            Self::Logprobs(tokens) => tokens.iter().map(|token| 64 * (1 + token.top.len())).sum(),
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

/// Saved by position: add variants at the end. An end that the backend says no more about is `Stop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The backend's filter withheld the rest.
    ContentFilter,
    /// This stop sequence ended the answer.
    StopSequence(String),
}

impl FinishReason {
    /// Whether the model had more to say.
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::Length | Self::Context | Self::ContentFilter)
    }
}

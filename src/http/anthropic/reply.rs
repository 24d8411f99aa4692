//! Replies of `/v1/messages`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{thinking::ThinkingBody, usage::AnthropicUsage};
use crate::{
    app::Collected,
    error::Error,
    http::{
        middleware::{auth::Caller, errors::ErrorFormat},
        reply::{Frames, ReplyEncoder},
    },
    types::{ChatEvent, Done, FinishReason, JsonText, ToolCall},
};

/// Signature of a thinking block, which clients send back: there is nothing to verify.
const SIGNATURE: &str = "unsigned";

/// A reply of `/v1/messages` that is not streamed, and the beginning of one that is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AnthropicMessage<'a> {
    id: &'a str,
    r#type: AnthropicMessageObject,
    role: AssistantRole,
    model: &'a str,
    content: Vec<OutputBlock<'a>>,
    #[schema(required)]
    stop_reason: Option<StopReason>,
    /// Stop sequence that ended the answer, if the backend reports it.
    #[schema(required)]
    stop_sequence: Option<&'a str>,
    usage: AnthropicUsage,
}

/// Always `message`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AnthropicMessageObject {
    Message,
}

/// Always `assistant`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AssistantRole {
    Assistant,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::http) enum OutputBlock<'a> {
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: &'static str,
    },
    ToolUse {
        id: String,
        name: &'a str,
        #[schema(value_type = Object)]
        input: JsonText,
    },
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
    Refusal,
    ModelContextWindowExceeded,
}

/// A server-sent event of a streamed reply, named by its type. After a failure the last one is an `error`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::http) enum MessageEvent<'a> {
    /// The usage is only known at the end.
    MessageStart {
        message: AnthropicMessage<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: OutputBlock<'a>,
    },
    ContentBlockDelta {
        index: usize,
        delta: BlockDelta<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: EndDelta<'a>,
        usage: AnthropicUsage,
    },
    MessageStop,
    Ping,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
pub(in crate::http) enum BlockDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'static str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EndDelta<'a> {
    stop_reason: StopReason,
    #[schema(required)]
    stop_sequence: Option<&'a str>,
}

impl From<&FinishReason> for StopReason {
    fn from(reason: &FinishReason) -> Self {
        match reason {
            FinishReason::Stop | FinishReason::Load | FinishReason::Unload => Self::EndTurn,
            FinishReason::Length => Self::MaxTokens,
            FinishReason::StopSequence(_) => Self::StopSequence,
            FinishReason::ToolCalls => Self::ToolUse,
            FinishReason::ContentFilter => Self::Refusal,
            FinishReason::Context => Self::ModelContextWindowExceeded,
        }
    }
}

fn stop_sequence(reason: &FinishReason) -> Option<&str> {
    if let FinishReason::StopSequence(sequence) = reason { Some(sequence) } else { None }
}

impl MessageEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
        }
    }
}

/// Kind of a block that is being streamed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

/// Encoder of `/v1/messages`.
pub(super) struct MessageEncoder {
    id: String,
    /// Whether thinking blocks have their text.
    shows_thinking: bool,
    /// Index of the next block to begin.
    next: usize,
    open: Option<Open>,
    tool_calls: usize,
}

impl MessageEncoder {
    pub(super) fn new(caller: &Caller, thinking: Option<&ThinkingBody>) -> Self {
        Self {
            id: format!("msg_{}", caller.recorder.request_id()),
            shows_thinking: thinking.is_none_or(ThinkingBody::is_shown),
            next: 0,
            open: None,
            tool_calls: 0,
        }
    }

    fn message<'a>(
        &'a self,
        model: &'a str,
        content: Vec<OutputBlock<'a>>,
        end: Option<&'a Done>,
    ) -> AnthropicMessage<'a> {
        AnthropicMessage {
            id: &self.id,
            r#type: AnthropicMessageObject::Message,
            role: AssistantRole::Assistant,
            model,
            content,
            stop_reason: end.map(|done| (&done.reason).into()),
            stop_sequence: end.and_then(|done| stop_sequence(&done.reason)),
            usage: end.map(|done| done.usage.into()).unwrap_or_default(),
        }
    }

    /// A call's own id, or one made from the message's.
    fn tool_use<'a>(&self, call: &'a ToolCall, index: usize, input: JsonText) -> OutputBlock<'a> {
        let made = || format!("toolu_{}_{index}", self.id.trim_start_matches("msg_"));
        let id = call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made);
        OutputBlock::ToolUse { id, name: &call.name, input }
    }

    fn write(event: &MessageEvent<'_>, out: &mut Frames) {
        out.named(event.name(), &to_json(event));
    }

    /// Begins a block of this kind, unless it is the one that is open.
    fn open(&mut self, kind: Open, out: &mut Frames) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        let block = match kind {
            Open::Text => OutputBlock::Text { text: "" },
            Open::Thinking => OutputBlock::Thinking { thinking: "", signature: "" },
        };
        self.begin_block(block, out);
        self.open = Some(kind);
    }

    fn begin_block(&mut self, content_block: OutputBlock<'_>, out: &mut Frames) {
        Self::write(&MessageEvent::ContentBlockStart { index: self.next, content_block }, out);
        self.next += 1;
    }

    fn delta(&self, delta: BlockDelta<'_>, out: &mut Frames) {
        Self::write(&MessageEvent::ContentBlockDelta { index: self.next - 1, delta }, out);
    }

    fn end_block(&self, out: &mut Frames) {
        Self::write(&MessageEvent::ContentBlockStop { index: self.next - 1 }, out);
    }

    /// Ends the open block, if there is one.
    fn close(&mut self, out: &mut Frames) {
        let Some(open) = self.open.take() else { return };
        if open == Open::Thinking {
            self.delta(BlockDelta::Signature { signature: SIGNATURE }, out);
        }
        self.end_block(out);
    }
}

impl ReplyEncoder for MessageEncoder {
    fn begin(&mut self, model: &str, out: &mut Frames) {
        let message = self.message(model, Vec::new(), None);
        Self::write(&MessageEvent::MessageStart { message }, out);
        self.ping(out);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        match event {
            ChatEvent::Text(text) => {
                self.open(Open::Text, out);
                self.delta(BlockDelta::Text { text }, out);
            }
            ChatEvent::Thinking(thinking) => {
                self.open(Open::Thinking, out);
                if self.shows_thinking {
                    self.delta(BlockDelta::Thinking { thinking }, out);
                }
            }
            ChatEvent::ToolCall(call) => {
                self.close(out);
                let block = self.tool_use(call, self.tool_calls, JsonText::empty_object());
                self.begin_block(block, out);
                self.delta(BlockDelta::InputJson { partial_json: call.arguments.get() }, out);
                self.end_block(out);
                self.tool_calls += 1;
            }
            ChatEvent::Logprobs(_) | ChatEvent::Done(_) => {}
        }
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        self.close(out);
        let stop_sequence = stop_sequence(&done.reason);
        let delta = EndDelta { stop_reason: (&done.reason).into(), stop_sequence };
        Self::write(&MessageEvent::MessageDelta { delta, usage: done.usage.into() }, out);
        Self::write(&MessageEvent::MessageStop, out);
    }

    fn ping(&mut self, out: &mut Frames) {
        Self::write(&MessageEvent::Ping, out);
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        out.named("error", &ErrorFormat::Anthropic.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        let Collected { text, thinking, tool_calls, done, .. } = reply;
        let thinking = (!thinking.is_empty()).then(|| OutputBlock::Thinking {
            thinking: if self.shows_thinking { thinking } else { "" },
            signature: SIGNATURE,
        });
        let text = (!text.is_empty()).then_some(OutputBlock::Text { text });
        let calls = tool_calls.iter().enumerate();
        let calls = calls.map(|(index, call)| self.tool_use(call, index, call.arguments.clone()));
        let content = thinking.into_iter().chain(text).chain(calls).collect();
        to_json(&self.message(model, content, Some(done)))
    }
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, numbers and JSON, and a Vec takes them all")
}

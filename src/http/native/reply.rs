//! Replies of `/inference/*` and `/vision/analyze`, in the shapes of Ollama.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::Collected,
    error::Error,
    http::{
        middleware::errors::ErrorFormat,
        rag::answer::{SourceBody, Sources},
        reply::{Frames, ReplyEncoder},
    },
    types::{ChatEvent, Done, FinishReason, JsonText, Timings, ToolCall},
    wire::ollama::nanos,
};

/// A server-sent event of a streamed reply. The last one has `done: true` and the other fields of a reply that
/// is not streamed. After a failure the last one is named `error`, and its data is a problem. Comments
/// (`: ping`) keep a silent connection open.
#[derive(Serialize, ToSchema)]
pub(super) struct GenerateEvent<'a> {
    model: &'a str,
    response: &'a str,
    /// Reasoning that a thinking model wrote before its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    done: bool,
}

/// A reply of `/inference/generate` or `/vision/analyze`.
#[derive(Serialize, ToSchema)]
pub(super) struct GenerateReply<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    event: GenerateEvent<'a>,
    #[serde(flatten)]
    #[schema(inline)]
    end: End<'a>,
}

/// A server-sent event of a streamed chat, like those of `/inference/generate`.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatReplyEvent<'a> {
    model: &'a str,
    message: MessageReply<'a>,
    done: bool,
}

/// A reply of `/inference/chat`.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatReply<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    event: ChatReplyEvent<'a>,
    /// Chunks that the model was given, if the request has `documents`; empty if these have nothing on the question.
    /// The answer cites them by number: `[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<SourceBody<'a>>>,
    #[serde(flatten)]
    #[schema(inline)]
    end: End<'a>,
}

#[derive(Default, Serialize, ToSchema)]
struct MessageReply<'a> {
    role: AssistantRole,
    content: &'a str,
    /// Reasoning that a thinking model wrote before its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallReply<'a>>,
}

#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AssistantRole {
    #[default]
    Assistant,
}

#[derive(Serialize, ToSchema)]
struct ToolCallReply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: CalledFunction<'a>,
}

#[derive(Serialize, ToSchema)]
struct CalledFunction<'a> {
    name: &'a str,
    #[schema(value_type = Object)]
    arguments: &'a JsonText,
}

/// Durations are in nanoseconds. A reply from the cache, or one made for an identical request, has only the
/// `total_duration` of this request.
#[derive(Serialize, ToSchema)]
struct End<'a> {
    done_reason: DoneReason,
    /// Token ids with which a later request can continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a [u32]>,
    total_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    eval_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
}

/// `load` and `unload` when there was no prompt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DoneReason {
    Stop,
    Length,
    ToolCalls,
    Load,
    Unload,
}

impl<'a> From<&'a Done> for End<'a> {
    fn from(done: &'a Done) -> Self {
        let Timings { total, queue: _, load, prompt_eval, eval } = done.timings;
        // A reply that no model made for this request: clients divide by these durations.
        let is_timed = [load, prompt_eval, eval].iter().any(|duration| !duration.is_zero());
        let part = |duration| is_timed.then(|| nanos(duration));
        Self {
            done_reason: match done.reason {
                FinishReason::Stop | FinishReason::ContentFilter | FinishReason::StopSequence(_) => {
                    DoneReason::Stop
                }
                FinishReason::ToolCalls => DoneReason::ToolCalls,
                FinishReason::Length | FinishReason::Context => DoneReason::Length,
                FinishReason::Load => DoneReason::Load,
                FinishReason::Unload => DoneReason::Unload,
            },
            context: done.context.as_deref(),
            total_duration: nanos(total),
            load_duration: part(load),
            prompt_eval_count: done.usage.prompt_tokens,
            prompt_eval_duration: part(prompt_eval),
            eval_count: done.usage.completion_tokens,
            eval_duration: part(eval),
        }
    }
}

impl<'a> From<&'a ToolCall> for ToolCallReply<'a> {
    fn from(ToolCall { id, name, arguments }: &'a ToolCall) -> Self {
        Self { id: id.as_deref(), function: CalledFunction { name, arguments } }
    }
}

/// Encoder of `/inference/generate` and `/vision/analyze`.
#[derive(Default)]
pub(super) struct GenerateEncoder {
    model: String,
}

impl ReplyEncoder for GenerateEncoder {
    fn begin(&mut self, model: &str, _: &mut Frames) {
        model.clone_into(&mut self.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        let (response, thinking) = match event {
            ChatEvent::Text(text) => (text.as_str(), None),
            ChatEvent::Thinking(text) => ("", Some(text.as_str())),
            ChatEvent::ToolCall(_) | ChatEvent::Logprobs(_) | ChatEvent::Done(_) => return,
        };
        out.data(&GenerateEvent { model: &self.model, response, thinking, done: false });
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        let event = GenerateEvent { model: &self.model, response: "", thinking: None, done: true };
        out.data(&GenerateReply { event, end: done.into() });
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        write_error(error, request_id, out);
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        let event = GenerateEvent { model, response: &reply.text, thinking: thinking(reply), done: true };
        to_json(&GenerateReply { event, end: (&reply.done).into() }, reply)
    }
}

/// Encoder of `/inference/chat`.
pub(super) struct ChatEncoder {
    model: String,
    /// Of an answer from documents.
    sources: Option<Sources>,
}

impl ChatEncoder {
    pub(super) fn new(sources: Option<Sources>) -> Self {
        Self { model: String::new(), sources }
    }

    fn sources(&self) -> Option<Vec<SourceBody<'_>>> {
        self.sources.as_ref().map(Sources::bodies)
    }
}

impl ReplyEncoder for ChatEncoder {
    fn begin(&mut self, model: &str, _: &mut Frames) {
        model.clone_into(&mut self.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        let message = match event {
            ChatEvent::Text(content) => MessageReply { content, ..MessageReply::default() },
            ChatEvent::Thinking(text) => MessageReply { thinking: Some(text), ..MessageReply::default() },
            ChatEvent::ToolCall(call) => {
                MessageReply { tool_calls: vec![(&**call).into()], ..MessageReply::default() }
            }
            ChatEvent::Logprobs(_) | ChatEvent::Done(_) => return,
        };
        out.data(&ChatReplyEvent { model: &self.model, message, done: false });
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        let event = ChatReplyEvent { model: &self.model, message: MessageReply::default(), done: true };
        out.data(&ChatReply { event, sources: self.sources(), end: done.into() });
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        write_error(error, request_id, out);
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        let message = MessageReply {
            role: AssistantRole::Assistant,
            content: &reply.text,
            thinking: thinking(reply),
            tool_calls: reply.tool_calls.iter().map(ToolCallReply::from).collect(),
        };
        let event = ChatReplyEvent { model, message, done: true };
        to_json(&ChatReply { event, sources: self.sources(), end: (&reply.done).into() }, reply)
    }
}

fn thinking(reply: &Collected) -> Option<&str> {
    (!reply.thinking.is_empty()).then_some(reply.thinking.as_str())
}

fn write_error(error: &Error, request_id: &str, out: &mut Frames) {
    out.named("error", &ErrorFormat::Problem.write(error, request_id));
}

fn to_json(body: &impl Serialize, reply: &Collected) -> Vec<u8> {
    let mut json = Vec::with_capacity(reply.text.len() + 512);
    serde_json::to_writer(&mut json, body).expect("texts, numbers and JSON, and a Vec takes them all");
    json
}

//! Ollama's shapes as our own API serves them.

use serde::Serialize;

use super::{nanos, request::ToolCallBody};
use crate::types::{Done, FinishReason, Timings, ToolCall};

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

/// Fields of the last chunk.
#[derive(Serialize)]
pub struct End<'a> {
    done_reason: &'static str,
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

impl<'a> From<&'a Done> for End<'a> {
    fn from(done: &'a Done) -> Self {
        let Timings { total, queue: _, load, prompt_eval, eval } = done.timings;
        // A reply that no model made for this request: clients divide by these durations.
        let is_timed = [load, prompt_eval, eval].iter().any(|duration| !duration.is_zero());
        let part = |duration| is_timed.then(|| nanos(duration));
        Self {
            // Ollama says `stop` when the model asks for tools, too.
            done_reason: match done.reason {
                FinishReason::Stop | FinishReason::ToolCalls => "stop",
                FinishReason::Length | FinishReason::Context => "length",
                FinishReason::Load => "load",
                FinishReason::Unload => "unload",
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

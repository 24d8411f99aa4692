//! Events of a streamed response.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    item::{ItemBody, ItemStatus, PartBody},
    output::{Output, OutputItem},
    response::{Draft, Finished, ResponseObject, ResponseStatus, last_status},
};
use crate::{
    app::Collected,
    error::Error,
    http::{
        middleware::errors::ErrorFormat,
        openai::{OpenAiError, logprobs::TokenBody},
        reply::{Frames, ReplyEncoder},
    },
    types::{ChatEvent, Done, TokenLogprob},
};

/// A server-sent event of a streamed response. The last one is `response.completed`, `response.incomplete`,
/// `response.failed`, or, if there is no response yet, `error`.
#[derive(Default, Serialize, ToSchema)]
pub(in crate::http) struct ResponseEvent<'a> {
    /// The event's name, such as `response.output_text.delta`.
    r#type: &'static str,
    /// Counts the events, from 0.
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResponseObject>)]
    response: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<ItemBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenBody<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    /// For `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// For `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Option<&'static str>>,
    /// For `error`: the field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<Option<String>>,
}

/// Encoder of `/v1/responses`.
pub(super) struct ResponseEncoder {
    draft: Arc<Draft>,
    output: Output,
    sequence: u64,
    has_begun: bool,
}

impl ResponseEncoder {
    pub(super) fn new(draft: Arc<Draft>) -> Self {
        Self { output: draft.output(), draft, sequence: 0, has_begun: false }
    }

    /// Ends the item that is open, which a call never is.
    fn close(&mut self, status: ItemStatus, out: &mut Frames) {
        let mut writer = Writer { sequence: &mut self.sequence, out };
        let (output, index) = (&self.output, self.output.index());
        let id = match output.last() {
            Some(OutputItem::Call(_)) | None => return,
            Some(_) => output.id(index),
        };
        let at = At { index, id: &id };
        match output.last() {
            Some(OutputItem::Message { text, logprobs }) => {
                let logprobs = self.draft.tokens(logprobs);
                writer.write(at.part("response.output_text.done", |event| {
                    event.text = Some(text);
                    event.logprobs = Some(logprobs);
                }));
            }
            Some(OutputItem::Reasoning(text)) => {
                writer.write(at.part("response.reasoning_text.done", |event| event.text = Some(text)));
            }
            _ => {}
        }
        writer.write(at.part("response.content_part.done", |event| event.part = output.part(index)));
        writer.write(at.item("response.output_item.done", output.item(index, status)));
    }

    /// Begins the item that was just added, and writes all of it so far.
    fn open(&mut self, delta: &ChatEvent, out: &mut Frames) {
        let mut writer = Writer { sequence: &mut self.sequence, out };
        let (output, index) = (&self.output, self.output.index());
        let id = output.id(index);
        let at = At { index, id: &id };
        writer.write(at.item("response.output_item.added", output.item(index, ItemStatus::InProgress)));
        if let ChatEvent::ToolCall(call) = delta {
            writer.write(at.event("response.function_call_arguments.delta", |event| {
                event.delta = Some(call.arguments.get());
            }));
            writer.write(at.event("response.function_call_arguments.done", |event| {
                event.name = Some(&call.name);
                event.arguments = Some(call.arguments.get());
            }));
            writer.write(at.item("response.output_item.done", output.item(index, ItemStatus::Completed)));
            return;
        }
        let empty = match delta {
            ChatEvent::Thinking(_) => PartBody::ReasoningText { text: "" },
            _ => {
                let logprobs = self.draft.top_logprobs.map(|_| Vec::new());
                PartBody::OutputText { text: "", annotations: Vec::new(), logprobs }
            }
        };
        writer.write(at.part("response.content_part.added", |event| event.part = Some(empty)));
    }

    /// Writes a text, which has brought so many log probabilities, or a thought.
    fn delta(&mut self, delta: &ChatEvent, fresh: usize, out: &mut Frames) {
        let mut writer = Writer { sequence: &mut self.sequence, out };
        let index = self.output.index();
        let id = self.output.last().map(|_| self.output.id(index)).unwrap_or_default();
        let at = At { index, id: &id };
        match (delta, self.output.last()) {
            (ChatEvent::Text(text), Some(OutputItem::Message { logprobs, .. })) => {
                let logprobs = self.draft.tokens(&logprobs[logprobs.len() - fresh..]);
                writer.write(at.part("response.output_text.delta", |event| {
                    event.delta = Some(text);
                    event.logprobs = Some(logprobs);
                }));
            }
            (ChatEvent::Thinking(text), _) => {
                writer.write(at.part("response.reasoning_text.delta", |event| event.delta = Some(text)));
            }
            _ => {}
        }
    }

    fn response(&mut self, name: &'static str, response: &RawValue, out: &mut Frames) {
        let event = ResponseEvent { r#type: name, response: Some(response), ..ResponseEvent::default() };
        Writer { sequence: &mut self.sequence, out }.write(event);
    }
}

impl Draft {
    /// Log probabilities of tokens, as far as they were asked for.
    fn tokens<'a>(&self, tokens: &'a [TokenLogprob]) -> Vec<TokenBody<'a>> {
        self.top_logprobs.map_or_else(Vec::new, |top| TokenBody::list(tokens, top.into()))
    }
}

/// Numbers the events.
struct Writer<'a> {
    sequence: &'a mut u64,
    out: &'a mut Frames,
}

impl Writer<'_> {
    fn write(&mut self, event: ResponseEvent<'_>) {
        let event = ResponseEvent { sequence_number: *self.sequence, ..event };
        *self.sequence += 1;
        let json = serde_json::to_vec(&event).expect("texts, numbers and JSON, and a Vec takes them all");
        self.out.named(event.r#type, &json);
    }
}

/// Place of an item in the output.
#[derive(Clone, Copy)]
struct At<'a> {
    index: usize,
    id: &'a str,
}

impl<'a> At<'a> {
    fn event(self, name: &'static str, set: impl FnOnce(&mut ResponseEvent<'a>)) -> ResponseEvent<'a> {
        let (output_index, item_id) = (Some(self.index), Some(self.id));
        let mut event = ResponseEvent { r#type: name, output_index, item_id, ..ResponseEvent::default() };
        set(&mut event);
        event
    }

    fn part(self, name: &'static str, set: impl FnOnce(&mut ResponseEvent<'a>)) -> ResponseEvent<'a> {
        ResponseEvent { content_index: Some(0), ..self.event(name, set) }
    }

    fn item(self, name: &'static str, item: ItemBody<'a>) -> ResponseEvent<'a> {
        ResponseEvent { item_id: None, item: Some(item), ..self.event(name, |_| {}) }
    }
}

impl ReplyEncoder for ResponseEncoder {
    fn begin(&mut self, _: &str, out: &mut Frames) {
        self.has_begun = true;
        let response = self.draft.begun(ResponseStatus::InProgress);
        self.response("response.created", &response, out);
        self.response("response.in_progress", &response, out);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        let adds = self.output.adds(event);
        if adds {
            self.close(ItemStatus::Completed, out);
        }
        let fresh = self.output.push(event);
        if adds {
            self.open(event, out);
        }
        self.delta(event, fresh, out);
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        self.close(last_status(done), out);
        let draft = Arc::clone(&self.draft);
        if let Some(Finished { json, is_incomplete, .. }) = draft.finished.get() {
            let name = if *is_incomplete { "response.incomplete" } else { "response.completed" };
            self.response(name, json, out);
        }
    }

    fn error(&mut self, error: &Error, _: &str, out: &mut Frames) {
        if self.has_begun {
            self.close(ItemStatus::Incomplete, out);
            let response = self.draft.failed(&self.output, error, false);
            return self.response("response.failed", &response, out);
        }
        let status = ErrorFormat::OpenAi.status(error.kind());
        let (message, code, param) = OpenAiError::new(error, status).into_parts();
        let (message, code, param) = (Some(message), Some(code), Some(param));
        let event = ResponseEvent { r#type: "error", message, code, param, ..ResponseEvent::default() };
        Writer { sequence: &mut self.sequence, out }.write(event);
    }

    fn complete(&mut self, _: &str, _: &Collected) -> Vec<u8> {
        let finished = self.draft.finished.get().expect("the reply was collected to its end");
        finished.json.get().into()
    }
}

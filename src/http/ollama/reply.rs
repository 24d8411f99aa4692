//! Replies of `/api/generate` and `/api/chat`.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::Collected,
    error::Error,
    http::{
        middleware::errors::ErrorFormat,
        openai::logprobs::TokenBody,
        reply::{Frames, Framing, ReplyEncoder},
    },
    types::{ChatEvent, ChatRequest, Done, FinishReason, JsonText, Timings, TokenLogprob, ToolCall},
    wire::ollama::nanos,
};

/// A line of a streamed reply. The last one has `done: true` and the other fields of a reply that is not streamed.
/// After a failure the last one is an error.
#[derive(Serialize, ToSchema)]
pub(super) struct OllamaGenerateEvent<'a> {
    model: &'a str,
    /// RFC 3339.
    created_at: String,
    response: &'a str,
    /// Reasoning that a thinking model wrote before its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<TokenBody<'a>>,
}

/// A reply of `/api/generate`.
#[derive(Serialize, ToSchema)]
pub(super) struct OllamaGenerateReply<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    event: OllamaGenerateEvent<'a>,
    #[serde(flatten)]
    #[schema(inline)]
    end: OllamaEnd<'a>,
}

/// A line of a streamed chat, like those of `/api/generate`.
#[derive(Serialize, ToSchema)]
pub(super) struct OllamaChatEvent<'a> {
    model: &'a str,
    /// RFC 3339.
    created_at: String,
    message: OllamaReplyMessage<'a>,
    done: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<TokenBody<'a>>,
}

/// A reply of `/api/chat`.
#[derive(Serialize, ToSchema)]
pub(super) struct OllamaChatReply<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    event: OllamaChatEvent<'a>,
    #[serde(flatten)]
    #[schema(inline)]
    end: OllamaEnd<'a>,
}

#[derive(Serialize, ToSchema)]
struct OllamaReplyMessage<'a> {
    /// Always `assistant`.
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<OllamaToolCall<'a>>,
}

#[derive(Serialize, ToSchema)]
struct OllamaToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: OllamaCalledFunction<'a>,
}

#[derive(Serialize, ToSchema)]
struct OllamaCalledFunction<'a> {
    index: usize,
    name: &'a str,
    #[schema(value_type = Object)]
    arguments: &'a JsonText,
}

/// Durations are in nanoseconds. A reply from the cache, or one made for an identical request, has only the
/// `total_duration` of this request.
#[derive(Serialize, ToSchema)]
struct OllamaEnd<'a> {
    done_reason: OllamaDoneReason,
    /// Token ids with which a later request can continue.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a [u32]>,
    total_duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
}

/// `load` and `unload` when there was no prompt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OllamaDoneReason {
    Stop,
    Length,
    Load,
    Unload,
}

impl<'a> OllamaEnd<'a> {
    fn new(done: &'a Done, has_context: bool) -> Self {
        let Timings { total, queue: _, load, prompt_eval, eval } = done.timings;
        let done_reason = match done.reason {
            FinishReason::Length | FinishReason::Context => OllamaDoneReason::Length,
            FinishReason::Load => OllamaDoneReason::Load,
            FinishReason::Unload => OllamaDoneReason::Unload,
            FinishReason::Stop
            | FinishReason::StopSequence(_)
            | FinishReason::ToolCalls
            | FinishReason::ContentFilter => OllamaDoneReason::Stop,
        };
        let is_asked = !matches!(done_reason, OllamaDoneReason::Load | OllamaDoneReason::Unload);
        // A reply that no model made for this request: clients divide by these durations.
        let is_timed = [load, prompt_eval, eval].iter().any(|duration| !duration.is_zero());
        let part = |is_there: bool, duration| (is_timed && is_there).then(|| nanos(duration));
        Self {
            done_reason,
            context: done.context.as_deref().filter(|_| has_context),
            total_duration: nanos(total),
            load_duration: part(true, load),
            prompt_eval_count: is_asked.then_some(done.usage.prompt_tokens),
            prompt_eval_duration: part(is_asked, prompt_eval),
            eval_count: is_asked.then_some(done.usage.completion_tokens),
            eval_duration: part(is_asked, eval),
        }
    }
}

impl<'a> OllamaReplyMessage<'a> {
    fn text(content: &'a str) -> Self {
        Self { role: "assistant", content, thinking: None, tool_calls: Vec::new() }
    }
}

impl<'a> OllamaToolCall<'a> {
    fn new(index: usize, ToolCall { id, name, arguments }: &'a ToolCall) -> Self {
        Self { id: id.as_deref(), function: OllamaCalledFunction { index, name, arguments } }
    }
}

/// Fields that every line of a reply has.
pub(super) struct ReplyHead {
    /// Name of the model as the client wrote it; its own name when the client wrote none.
    model: Option<String>,
    /// Number of most likely tokens to tell at each position.
    top_logprobs: usize,
    /// Of the text that comes next.
    logprobs: Vec<TokenLogprob>,
}

impl ReplyHead {
    pub(super) fn new(asked: Option<String>, request: &ChatRequest) -> Self {
        let top_logprobs = request.logprobs.unwrap_or(0).into();
        Self { model: asked, top_logprobs, logprobs: Vec::new() }
    }

    fn begin(&mut self, model: &str) {
        self.model.get_or_insert_with(|| model.to_owned());
    }

    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }

    fn logprobs<'a>(&self, tokens: &'a [TokenLogprob]) -> Vec<TokenBody<'a>> {
        TokenBody::list(tokens, self.top_logprobs)
    }
}

fn created_at() -> String {
    Timestamp::now().to_string()
}

/// Encoder of `/api/generate`.
pub(super) struct GenerateEncoder {
    head: ReplyHead,
    /// The reply to a raw prompt has no token ids.
    is_raw: bool,
}

impl GenerateEncoder {
    pub(super) fn new(head: ReplyHead, is_raw: bool) -> Self {
        Self { head, is_raw }
    }

    fn line<'a>(
        &'a self,
        response: &'a str,
        thinking: Option<&'a str>,
        done: bool,
    ) -> OllamaGenerateEvent<'a> {
        let logprobs = self.head.logprobs(&self.head.logprobs);
        OllamaGenerateEvent {
            model: self.head.model(),
            created_at: created_at(),
            response,
            thinking,
            done,
            logprobs,
        }
    }
}

impl ReplyEncoder for GenerateEncoder {
    fn framing(&self) -> Framing {
        Framing::Ndjson
    }

    fn begin(&mut self, model: &str, _: &mut Frames) {
        self.head.begin(model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        let (response, thinking) = match event {
            ChatEvent::Logprobs(tokens) => return self.head.logprobs.extend_from_slice(tokens),
            ChatEvent::Text(text) => (text.as_str(), None),
            ChatEvent::Thinking(text) => ("", Some(text.as_str())),
            ChatEvent::ToolCall(_) | ChatEvent::Done(_) => return,
        };
        out.data(&self.line(response, thinking, false));
        self.head.logprobs.clear();
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        let end = OllamaEnd::new(done, !self.is_raw);
        out.data(&OllamaGenerateReply { event: self.line("", None, true), end });
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        out.json(&ErrorFormat::Ollama.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        self.head.begin(model);
        self.head.logprobs.clone_from(&reply.logprobs);
        let event = self.line(&reply.text, thinking(reply), true);
        to_json(&OllamaGenerateReply { event, end: OllamaEnd::new(&reply.done, !self.is_raw) })
    }
}

/// Encoder of `/api/chat`.
pub(super) struct ChatEncoder {
    head: ReplyHead,
    tool_calls: usize,
}

impl ChatEncoder {
    pub(super) fn new(head: ReplyHead) -> Self {
        Self { head, tool_calls: 0 }
    }

    fn line<'a>(&'a self, message: OllamaReplyMessage<'a>, done: bool) -> OllamaChatEvent<'a> {
        let logprobs = self.head.logprobs(&self.head.logprobs);
        OllamaChatEvent { model: self.head.model(), created_at: created_at(), message, done, logprobs }
    }
}

impl ReplyEncoder for ChatEncoder {
    fn framing(&self) -> Framing {
        Framing::Ndjson
    }

    fn begin(&mut self, model: &str, _: &mut Frames) {
        self.head.begin(model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        let empty = OllamaReplyMessage::text("");
        let message = match event {
            ChatEvent::Logprobs(tokens) => return self.head.logprobs.extend_from_slice(tokens),
            ChatEvent::Text(text) => OllamaReplyMessage::text(text),
            ChatEvent::Thinking(text) => OllamaReplyMessage { thinking: Some(text), ..empty },
            ChatEvent::ToolCall(call) => {
                self.tool_calls += 1;
                let call = OllamaToolCall::new(self.tool_calls - 1, call);
                OllamaReplyMessage { tool_calls: vec![call], ..empty }
            }
            ChatEvent::Done(_) => return,
        };
        out.data(&self.line(message, false));
        self.head.logprobs.clear();
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        let event = self.line(OllamaReplyMessage::text(""), true);
        out.data(&OllamaChatReply { event, end: OllamaEnd::new(done, false) });
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        out.json(&ErrorFormat::Ollama.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        self.head.begin(model);
        self.head.logprobs.clone_from(&reply.logprobs);
        let calls = reply.tool_calls.iter().enumerate();
        let message = OllamaReplyMessage {
            thinking: thinking(reply),
            tool_calls: calls.map(|(index, call)| OllamaToolCall::new(index, call)).collect(),
            ..OllamaReplyMessage::text(&reply.text)
        };
        let event = self.line(message, true);
        to_json(&OllamaChatReply { event, end: OllamaEnd::new(&reply.done, false) })
    }
}

fn thinking(reply: &Collected) -> Option<&str> {
    (!reply.thinking.is_empty()).then_some(reply.thinking.as_str())
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, numbers and JSON, and a Vec takes them all")
}

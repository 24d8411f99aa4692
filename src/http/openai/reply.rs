//! Replies of `/v1/chat/completions`.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    logprobs::LogprobsBody,
    usage::{OpenAiUsage, UsageSum},
};
use crate::{
    app::Collected,
    error::Error,
    http::{
        middleware::{auth::Caller, errors::ErrorFormat},
        reply::{Frames, ReplyEncoder},
    },
    types::{ChatEvent, Done, FinishReason, TokenLogprob, ToolCall},
};

/// A reply of `/v1/chat/completions` that is not streamed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ChatCompletion<'a> {
    id: &'a str,
    object: ChatCompletionObject,
    /// Unix time in seconds.
    created: i64,
    model: &'a str,
    choices: Vec<ChatChoice<'a>>,
    usage: OpenAiUsage,
}

/// Always `chat.completion`.
#[derive(Serialize, ToSchema)]
enum ChatCompletionObject {
    #[serde(rename = "chat.completion")]
    ChatCompletion,
}

#[derive(Serialize, ToSchema)]
struct ChatChoice<'a> {
    index: usize,
    message: AssistantMessage<'a>,
    #[schema(required)]
    logprobs: Option<LogprobsBody<'a>>,
    finish_reason: OpenAiFinishReason,
}

#[derive(Serialize, ToSchema)]
struct AssistantMessage<'a> {
    role: &'static str,
    #[schema(required)]
    content: Option<&'a str>,
    /// Always null.
    #[schema(required)]
    refusal: Option<&'static str>,
    /// Reasoning that a thinking model wrote before its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallObject<'a>>,
}

/// A server-sent event of a streamed reply. `data: [DONE]` follows the last one. After a failure the last one is an
/// error.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ChatCompletionChunk<'a> {
    id: &'a str,
    object: ChatChunkObject,
    created: i64,
    model: &'a str,
    choices: Vec<ChunkChoice<'a>>,
    /// With `stream_options: {"include_usage": true}`: in a separate event at the end, and null before.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<OpenAiUsage>>,
}

/// Always `chat.completion.chunk`.
#[derive(Serialize, ToSchema)]
enum ChatChunkObject {
    #[serde(rename = "chat.completion.chunk")]
    ChatCompletionChunk,
}

#[derive(Serialize, ToSchema)]
struct ChunkChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    #[schema(required)]
    logprobs: Option<LogprobsBody<'a>>,
    #[schema(required)]
    finish_reason: Option<OpenAiFinishReason>,
}

#[derive(Default, Serialize, ToSchema)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallDelta<'a>>,
}

#[derive(Serialize, ToSchema)]
struct ToolCallDelta<'a> {
    index: usize,
    #[serde(flatten)]
    #[schema(inline)]
    call: ToolCallObject<'a>,
}

#[derive(Serialize, ToSchema)]
struct ToolCallObject<'a> {
    id: String,
    r#type: &'static str,
    function: CalledFunctionObject<'a>,
}

#[derive(Serialize, ToSchema)]
struct CalledFunctionObject<'a> {
    name: &'a str,
    /// JSON in a string.
    arguments: &'a str,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OpenAiFinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

impl From<&FinishReason> for OpenAiFinishReason {
    fn from(reason: &FinishReason) -> Self {
        match reason {
            FinishReason::Stop
            | FinishReason::StopSequence(_)
            | FinishReason::Load
            | FinishReason::Unload => Self::Stop,
            FinishReason::Length | FinishReason::Context => Self::Length,
            FinishReason::ToolCalls => Self::ToolCalls,
            FinishReason::ContentFilter => Self::ContentFilter,
        }
    }
}

/// Fields that every event of a reply has.
#[derive(Default)]
pub(super) struct ReplyHead {
    pub(super) id: String,
    /// Unix time in seconds.
    pub(super) created: i64,
    pub(super) model: String,
    /// Number of answers.
    pub(super) choices: usize,
    /// Whether a stream ends with the usage.
    pub(super) include_usage: bool,
    /// Number of most likely tokens to tell at each position.
    pub(super) top_logprobs: usize,
}

impl ReplyHead {
    pub(super) fn new(prefix: &str, caller: &Caller, choices: usize, include_usage: bool) -> Self {
        Self {
            id: format!("{prefix}-{}", caller.recorder.request_id()),
            created: Timestamp::now().as_second(),
            model: String::new(),
            choices,
            include_usage,
            top_logprobs: 0,
        }
    }

    /// A call's own id, or one made from the reply's.
    fn tool_call<'a>(&self, call: &'a ToolCall, choice: usize, index: usize) -> ToolCallObject<'a> {
        let made = || format!("call_{}_{choice}_{index}", self.id.trim_start_matches("chatcmpl-"));
        ToolCallObject {
            id: call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made),
            r#type: "function",
            function: CalledFunctionObject { name: &call.name, arguments: call.arguments.get() },
        }
    }
}

/// Encoder of `/v1/chat/completions`.
pub(super) struct ChatCompletionEncoder {
    head: ReplyHead,
    /// Index of the answer that is being written.
    choice: usize,
    has_begun: bool,
    tool_calls: usize,
    /// Of the text that comes next.
    logprobs: Vec<TokenLogprob>,
    usage: UsageSum,
}

impl ChatCompletionEncoder {
    pub(super) fn new(head: ReplyHead) -> Self {
        Self {
            head,
            choice: 0,
            has_begun: false,
            tool_calls: 0,
            logprobs: Vec::new(),
            usage: UsageSum::default(),
        }
    }

    fn write(&self, delta: Delta<'_>, finish_reason: Option<OpenAiFinishReason>, out: &mut Frames) {
        let logprobs = LogprobsBody::new(&self.logprobs, self.head.top_logprobs);
        let choice = ChunkChoice { index: self.choice, delta, logprobs, finish_reason };
        let usage = self.head.include_usage.then_some(None);
        out.data(&self.chunk(vec![choice], usage));
    }

    /// Writes the first event of an answer, which has its role, unless it is written already.
    fn begin_answer(&mut self, out: &mut Frames) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.write(Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, None, out);
        }
    }

    fn chunk<'a>(
        &'a self,
        choices: Vec<ChunkChoice<'a>>,
        usage: Option<Option<OpenAiUsage>>,
    ) -> ChatCompletionChunk<'a> {
        let ReplyHead { id, created, model, .. } = &self.head;
        let object = ChatChunkObject::ChatCompletionChunk;
        ChatCompletionChunk { id, object, created: *created, model, choices, usage }
    }

    fn message<'a>(&self, index: usize, reply: &'a Collected) -> AssistantMessage<'a> {
        let Collected { text, thinking, tool_calls, .. } = reply;
        let calls = tool_calls.iter().enumerate();
        AssistantMessage {
            role: "assistant",
            content: (!text.is_empty() || tool_calls.is_empty()).then_some(text.as_str()),
            refusal: None,
            reasoning_content: (!thinking.is_empty()).then_some(thinking.as_str()),
            tool_calls: calls.map(|(at, call)| self.head.tool_call(call, index, at)).collect(),
        }
    }
}

impl ReplyEncoder for ChatCompletionEncoder {
    fn choices(&self) -> usize {
        self.head.choices
    }

    fn begin(&mut self, model: &str, _: &mut Frames) {
        model.clone_into(&mut self.head.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        self.begin_answer(out);
        let delta = match event {
            ChatEvent::Text(content) => Delta { content: Some(content), ..Delta::default() },
            ChatEvent::Thinking(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
            ChatEvent::ToolCall(call) => {
                let call = self.head.tool_call(call, self.choice, self.tool_calls);
                let delta = ToolCallDelta { index: self.tool_calls, call };
                self.tool_calls += 1;
                Delta { tool_calls: vec![delta], ..Delta::default() }
            }
            ChatEvent::Logprobs(tokens) => {
                self.logprobs.extend_from_slice(tokens);
                return;
            }
            ChatEvent::Done(_) => return,
        };
        self.write(delta, None, out);
        self.logprobs.clear();
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        self.begin_answer(out);
        self.write(Delta::default(), Some((&done.reason).into()), out);
        self.usage.add(done.usage, self.choice == 0);
        self.choice += 1;
        (self.has_begun, self.tool_calls) = (false, 0);
        self.logprobs.clear();
        if self.choice == self.head.choices {
            if self.head.include_usage {
                out.data(&self.chunk(Vec::new(), Some(Some(self.usage.body()))));
            }
            out.done();
        }
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        out.json(&ErrorFormat::OpenAi.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        let replies = std::iter::once(reply).chain(&reply.others);
        for (index, reply) in replies.clone().enumerate() {
            self.usage.add(reply.done.usage, index == 0);
        }
        let choices = replies.enumerate().map(|(index, reply)| ChatChoice {
            index,
            message: self.message(index, reply),
            logprobs: LogprobsBody::new(&reply.logprobs, self.head.top_logprobs),
            finish_reason: (&reply.done.reason).into(),
        });
        let completion = ChatCompletion {
            id: &self.head.id,
            object: ChatCompletionObject::ChatCompletion,
            created: self.head.created,
            model,
            choices: choices.collect(),
            usage: self.usage.body(),
        };
        serde_json::to_vec(&completion).expect("texts, numbers and JSON, and a Vec takes them all")
    }
}

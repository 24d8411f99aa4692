//! `/v1/completions`: prompts that go to the model as they are, without its chat template.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    choices,
    prompts::{OnePrompt, Prompts},
    reply::{OpenAiFinishReason, ReplyHead},
    sampling::{body, choices as number_of_choices},
    usage::{OpenAiUsage, UsageSum},
};
use crate::{
    app::Collected,
    error::{self, Error},
    http::{
        HttpState,
        extract::{Json, fields::Fields},
        ignored::IgnoredNames,
        middleware::{
            auth::Caller,
            errors::{ErrorFormat, Result},
        },
        native::inference::resolve,
        reply::{Frames, ReplyEncoder, respond},
    },
    types::{ChatEvent, ChatRequest, Completion, Done, Prompt, Sampling, TokenLogprob},
};

/// Default of `max_tokens`, as in OpenAI's API.
const USUAL_TOKENS: u32 = 16;
/// Maximum of `logprobs`, as in OpenAI's API.
const MAX_LOGPROBS: i64 = 5;

body! {
    struct CompletionBody {
        /// A prompt, or a list of prompts. Each is a string or a list of the model's token ids.
        prompt: Prompts,
        /// Text that follows the answer, for models that were trained for fill-in-the-middle.
        suffix: Option<String>,
        /// Begin each answer with its prompt.
        #[schema(default = false)]
        echo: Option<bool>,
        /// Maximum number of tokens to generate.
        #[schema(default = 16, minimum = 1, maximum = 2147483647)]
        max_tokens: Option<i64>,
        /// Return the log probability of each token, and of this many of the most likely tokens at its position.
        #[schema(minimum = 0, maximum = 5)]
        logprobs: Option<i64>,
        /// Must be equal to `n`.
        #[schema(minimum = 1, maximum = 16)]
        best_of: Option<i64>,
    }
}

/// A reply of `/v1/completions`, or a server-sent event of one. `data: [DONE]` follows the last event.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TextCompletion<'a> {
    id: &'a str,
    object: TextCompletionObject,
    /// Unix time in seconds.
    created: i64,
    model: &'a str,
    choices: Vec<TextChoice<'a>>,
    /// In a reply that is not streamed; in a stream with `stream_options: {"include_usage": true}`, in a separate event
    /// at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<OpenAiUsage>>,
}

/// Always `text_completion`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TextCompletionObject {
    TextCompletion,
}

#[derive(Serialize, ToSchema)]
struct TextChoice<'a> {
    index: usize,
    text: &'a str,
    #[schema(required)]
    logprobs: Option<TextLogprobs<'a>>,
    #[schema(required)]
    finish_reason: Option<OpenAiFinishReason>,
}

#[derive(Serialize, ToSchema)]
struct TextLogprobs<'a> {
    tokens: Vec<&'a str>,
    token_logprobs: Vec<f32>,
    /// By token.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, f32>>)]
    top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where each token begins, in characters of the text.
    text_offset: Vec<usize>,
}

/// Create a completion (OpenAI)
#[utoipa::path(post, path = "/v1/completions", tag = "OpenAI",
    request_body(content = CompletionBody, example = json!({"prompt": "The capital of France is"})),
    responses((status = 200, content((TextCompletion = "application/json"), (TextCompletion = "text/event-stream")))))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<CompletionBody>,
) -> Result<Response> {
    let (stream, include_usage, ignored) =
        (body.stream.unwrap_or(false), body.include_usage(), body.ignored());
    let model = resolve(&state, body.model.as_deref(), 0, 0).await?;
    let per_prompt = body.n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let (requests, echo) = body.into_requests(&model)?;
    let head = ReplyHead {
        top_logprobs: requests[0].logprobs.unwrap_or(0).into(),
        ..ReplyHead::new("cmpl", &caller, requests.len(), include_usage)
    };
    let room = room.keep(requests.iter().map(ChatRequest::size).sum());
    let (app, asking) = (Arc::clone(&state.app), caller.owned());
    let reply = async move {
        let reply = choices::ask(&app, &asking, requests).await;
        drop(room);
        // Token ids of a prompt.
        reply.map_err(|error| error.at(|pointer| pointer.replace("/context", "/prompt")))
    };
    let encoder = TextCompletionEncoder { head, echo, per_prompt, ..TextCompletionEncoder::default() };
    Ok(ignored.mark(respond(&state, &caller, reply, encoder, stream).await?))
}

impl CompletionBody {
    fn ignored(&self) -> IgnoredNames {
        let mut names = IgnoredNames::default();
        names.note("user", self.user);
        names
    }

    /// A request for each answer, and what each answer begins with.
    fn into_requests(mut self, model: &str) -> error::Result<(Vec<ChatRequest>, Vec<String>)> {
        let mut fields = Fields::default();
        let choices = number_of_choices(self.n, &mut fields);
        let max_tokens = fields.positive("/max_tokens", self.max_tokens).or(Some(USUAL_TOKENS));
        let sampling = Sampling { max_tokens, ..self.sampling(&mut fields) };
        let logprobs = self.logprobs(choices, &mut fields);
        let Prompts(prompts) = self.prompt;
        if prompts.is_empty() || prompts.len() * choices > choices::MAX_CHOICES {
            let most = choices::MAX_CHOICES;
            fields.refuse(
                "/prompt",
                format!("must have at least one prompt, and at most {most} answers in all"),
            );
        }
        let echo = self.echo.unwrap_or(false);
        for (index, prompt) in prompts.iter().enumerate().take(choices::MAX_CHOICES) {
            let tokens = matches!(prompt, OnePrompt::Tokens(_));
            let pointer = if prompts.len() > 1 { format!("/prompt/{index}") } else { "/prompt".to_owned() };
            match prompt {
                empty if empty.is_empty() => fields.refuse(pointer, "must not be empty"),
                _ if tokens && (echo || self.suffix.is_some()) => {
                    fields.refuse(pointer, "must be a string when suffix or echo is set");
                }
                _ => {}
            }
        }
        fields.finish()?;
        let (mut requests, mut echoes) = (Vec::new(), Vec::new());
        for prompt in prompts {
            let (text, context) = match prompt {
                OnePrompt::Text(text) => (text, None),
                OnePrompt::Tokens(tokens) => (String::new(), Some(tokens)),
            };
            let echoed = if echo { text.clone() } else { String::new() };
            let suffix = self.suffix.clone();
            let completion = Completion { text, suffix, context, raw: true, ..Completion::default() };
            let request = ChatRequest {
                sampling: sampling.clone(),
                logprobs,
                keep_alive: self.keep_alive,
                ..ChatRequest::new(model, Prompt::Completion(completion))
            };
            requests.extend(choices::repeated(&request, choices));
            echoes.extend(std::iter::repeat_n(echoed, choices));
        }
        Ok((requests, echoes))
    }

    fn logprobs(&self, choices: usize, fields: &mut Fields) -> Option<u8> {
        if self.best_of.is_some_and(|best_of| usize::try_from(best_of) != Ok(choices)) {
            fields.refuse("/best_of", "must be equal to n: answers are not compared");
        }
        let asked = self.logprobs?;
        if !(0..=MAX_LOGPROBS).contains(&asked) {
            fields.refuse("/logprobs", format!("must be between 0 and {MAX_LOGPROBS}"));
        }
        if self.echo == Some(true) {
            fields.refuse("/logprobs", "cannot be combined with echo: those of the prompt are not known");
        }
        Some(u8::try_from(asked).unwrap_or(0))
    }
}

/// Encoder of `/v1/completions`.
#[derive(Default)]
struct TextCompletionEncoder {
    head: ReplyHead,
    /// Beginning of each answer.
    echo: Vec<String>,
    /// Number of answers to each prompt.
    per_prompt: usize,
    /// Index of the answer that is being written.
    choice: usize,
    /// Characters of it that have been written.
    written: usize,
    /// Of the text that comes next.
    logprobs: Vec<TokenLogprob>,
    usage: UsageSum,
}

impl TextCompletionEncoder {
    fn write(&self, text: &str, finish_reason: Option<OpenAiFinishReason>, out: &mut Frames) {
        let logprobs = TextLogprobs::new(&self.logprobs, self.written, self.head.top_logprobs);
        let choice = TextChoice { index: self.choice, text, logprobs, finish_reason };
        out.data(&self.completion(&self.head.model, vec![choice], self.head.include_usage.then_some(None)));
    }

    fn completion<'a>(
        &'a self,
        model: &'a str,
        choices: Vec<TextChoice<'a>>,
        usage: Option<Option<OpenAiUsage>>,
    ) -> TextCompletion<'a> {
        let ReplyHead { id, created, .. } = &self.head;
        let object = TextCompletionObject::TextCompletion;
        TextCompletion { id, object, created: *created, model, choices, usage }
    }
}

impl ReplyEncoder for TextCompletionEncoder {
    fn choices(&self) -> usize {
        self.head.choices
    }

    fn begin(&mut self, model: &str, _: &mut Frames) {
        model.clone_into(&mut self.head.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        match event {
            ChatEvent::Logprobs(tokens) => self.logprobs.extend_from_slice(tokens),
            ChatEvent::Text(text) => {
                let begins = self.written == 0 && !self.echo[self.choice].is_empty();
                let whole = if begins { format!("{}{text}", self.echo[self.choice]) } else { String::new() };
                self.write(if begins { &whole } else { text }, None, out);
                self.written += text.chars().count();
                self.logprobs.clear();
            }
            ChatEvent::Thinking(_) | ChatEvent::ToolCall(_) | ChatEvent::Done(_) => {}
        }
    }

    fn end(&mut self, done: &Done, out: &mut Frames) {
        let unsaid = if self.written == 0 { self.echo[self.choice].as_str() } else { "" };
        self.write(unsaid, Some((&done.reason).into()), out);
        self.usage.add(done.usage, self.choice.is_multiple_of(self.per_prompt));
        self.choice += 1;
        self.written = 0;
        self.logprobs.clear();
        if self.choice == self.head.choices {
            if self.head.include_usage {
                out.data(&self.completion(&self.head.model, Vec::new(), Some(Some(self.usage.body()))));
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
            self.usage.add(reply.done.usage, index.is_multiple_of(self.per_prompt));
        }
        let texts: Vec<String> =
            replies.clone().zip(&self.echo).map(|(reply, echo)| format!("{echo}{}", reply.text)).collect();
        let choices = replies.zip(&texts).enumerate().map(|(index, (reply, text))| TextChoice {
            index,
            text,
            logprobs: TextLogprobs::new(&reply.logprobs, 0, self.head.top_logprobs),
            finish_reason: Some((&reply.done.reason).into()),
        });
        let completion = self.completion(model, choices.collect(), Some(Some(self.usage.body())));
        serde_json::to_vec(&completion).expect("texts and numbers, and a Vec takes them all")
    }
}

impl<'a> TextLogprobs<'a> {
    /// `None` where they were not asked for. `at` is where the first token begins.
    fn new(tokens: &'a [TokenLogprob], at: usize, most: usize) -> Option<Self> {
        let mut offset = at;
        let offsets = tokens.iter().map(|token| {
            let start = offset;
            offset += token.token.text.chars().count();
            start
        });
        let top = |token: &TokenLogprob| {
            token.top.iter().take(most).map(|top| (top.text.clone(), top.logprob.into())).collect()
        };
        (!tokens.is_empty()).then(|| Self {
            text_offset: offsets.collect(),
            tokens: tokens.iter().map(|token| token.token.text.as_str()).collect(),
            token_logprobs: tokens.iter().map(|token| token.token.logprob).collect(),
            top_logprobs: tokens.iter().map(top).collect(),
        })
    }
}

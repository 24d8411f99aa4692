//! One reply of a child: which of llama-server's endpoints is asked, and what is added at the end.
//! The lease lives in the stream, so that the slot is free when the reply ends or is dropped.

use std::{sync::Arc, time::Instant};

use async_stream::stream;
use futures_util::{Stream, StreamExt};

use super::Child;
use crate::{
    backend::{ChatStream, LARGE_BYTES, openai, place::Place, plain_text, to_json, work},
    error::{Error, Result},
    types::{
        ChatEvent, ChatRequest, Completion, Done, Format, Message, Prompt, PromptTemplate, Role,
        TemplateValues,
    },
    wire::{
        llama::{
            CompletionBody, CompletionParser, InfillBody, TemplateBody, TemplateReply, TokenizeBody,
            TokenizeReply,
        },
        openai::{ChatBody, ReplyParser},
    },
};

/// `repeat_last_n` for as many tokens as the context has.
const WHOLE_CONTEXT: i32 = -1;

/// Asks the child; returns when it has accepted the request.
pub(super) async fn begin(request: ChatRequest, child: Child, since: Instant) -> Result<ChatStream> {
    let (events, past) = ask(request, &child, since).await?;
    Ok(Box::pin(attended(events, past, child)))
}

/// Tokens of the conversation before the reply, as far as they are known.
enum Past {
    /// Not reported: the request has messages or images.
    Unknown,
    /// Tokens, and text after them.
    Raw(Vec<u32>, String),
    /// Tokens, and turns after them.
    Turns(Vec<u32>, Vec<Message>),
}

async fn ask(mut request: ChatRequest, child: &Child, since: Instant) -> Result<(ChatStream, Past)> {
    let is_large = request.size() > LARGE_BYTES;
    let entry = Arc::clone(&child.entry);
    let plain = move || {
        plain_text::chat(&mut request, &entry.control_tokens);
        Ok(request)
    };
    let mut request = work(is_large, plain).await?;
    if request.sampling.repeat_last_n == Some(WHOLE_CONTEXT) {
        // llama-server refuses -1.
        request.sampling.repeat_last_n = i32::try_from(child.lease.context()).ok();
    }
    let prompt = std::mem::replace(&mut request.prompt, Prompt::Messages(Vec::new()));
    let (messages, pointer, past) = match prompt {
        Prompt::Messages(messages) => (messages, "/messages", Past::Unknown),
        Prompt::Completion(Completion {
            template: Some(template), text, suffix, system, context, ..
        }) => {
            let template =
                PromptTemplate::parse(&template).map_err(|detail| Error::field("/template", detail))?;
            let values = TemplateValues {
                system: system.as_deref().unwrap_or_default(),
                prompt: &text,
                suffix: suffix.as_deref().unwrap_or_default(),
            };
            let (text, context) = (template.render(values), context.unwrap_or_default());
            let events = complete(child, &request, &context, &text, since).await?;
            return Ok((events, Past::Raw(context, text)));
        }
        Prompt::Completion(Completion { text, suffix: Some(suffix), .. }) => {
            let body = to_json(&InfillBody::new(&request, &text, &suffix))?;
            let response = openai::post(child.client(), "/infill", body, child.place("/suffix")).await?;
            return Ok((Box::pin(openai::events::<CompletionParser>(response, since)), Past::Unknown));
        }
        Prompt::Completion(Completion { text, context, raw: true, .. }) => {
            let context = context.unwrap_or_default();
            let events = complete(child, &request, &context, &text, since).await?;
            return Ok((events, Past::Raw(context, text)));
        }
        Prompt::Completion(mut completion) => {
            let context = completion.context.take();
            let has_images = !completion.images.is_empty();
            let messages = completion.into_messages();
            if let Some(context) = context {
                let place = child.place("/prompt");
                let turn: TemplateReply = openai::ask(
                    child.client(),
                    "/apply-template",
                    &TemplateBody::open(&messages, request.think),
                    place,
                )
                .await?;
                let events = complete(child, &request, &context, &turn.prompt, since).await?;
                return Ok((events, Past::Turns(context, messages)));
            }
            let past = if has_images { Past::Unknown } else { Past::Turns(Vec::new(), messages.clone()) };
            (messages, "/prompt", past)
        }
    };
    let with_tools = request.offered_tools().next().is_some();
    let with_schema = with_tools || request.format != Format::Text;
    let place = Place { with_tools, with_schema, ..child.place(pointer) };
    let body = work(is_large, move || to_json(&ChatBody::new(&request, &messages, None))).await?;
    let response = openai::post(child.client(), "/v1/chat/completions", body, place).await?;
    Ok((Box::pin(openai::events::<ReplyParser>(response, since)), past))
}

async fn complete(
    child: &Child,
    request: &ChatRequest,
    context: &[u32],
    text: &str,
    since: Instant,
) -> Result<ChatStream> {
    let body = to_json(&CompletionBody::new(request, context, text))?;
    let place = Place { with_schema: request.format != Format::Text, ..child.place("/prompt") };
    let response = openai::post(child.client(), "/completion", body, place).await?;
    Ok(Box::pin(openai::events::<CompletionParser>(response, since)))
}

/// Returns the child's events, with timings and token ids added to the last one.
fn attended(
    mut events: ChatStream,
    past: Past,
    child: Child,
) -> impl Stream<Item = Result<ChatEvent>> + Send {
    stream! {
        let mut reply = String::new();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(ChatEvent::Done(done)) => Ok(finish(*done, &past, &reply, &child).await),
                other => other,
            };
            match event {
                Ok(event) => {
                    if let (ChatEvent::Text(text), false) = (&event, matches!(past, Past::Unknown)) {
                        reply.push_str(text);
                    }
                    yield Ok(event);
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    }
}

async fn finish(mut done: Done, past: &Past, reply: &str, child: &Child) -> ChatEvent {
    (done.timings.queue, done.timings.load) = (Some(child.lease.waited()), child.lease.load());
    // The reply is complete; without its token ids, it can only not be continued.
    done.context = token_ids(past, reply, child).await.unwrap_or_else(|error| {
        tracing::warn!("the token ids of a reply are not available: {}", error.summary());
        None
    });
    done.into()
}

/// Returns the token ids of the whole exchange, with which a later prompt can continue it.
async fn token_ids(past: &Past, reply: &str, child: &Child) -> Result<Option<Vec<u32>>> {
    let place = child.place("/prompt");
    let (context, text) = match past {
        Past::Unknown => return Ok(None),
        Past::Raw(context, text) => (context, format!("{text}{reply}")),
        Past::Turns(context, messages) => {
            let mut messages = messages.clone();
            let reply = child.entry.control_tokens.break_up(reply);
            messages.push(Message::new(Role::Assistant, reply));
            let closed = TemplateBody::closed(&messages);
            let told: TemplateReply = openai::ask(child.client(), "/apply-template", &closed, place).await?;
            (context, told.prompt)
        }
    };
    let body = TokenizeBody { content: &text, add_special: context.is_empty(), parse_special: true };
    let new: TokenizeReply = openai::ask(child.client(), "/tokenize", &body, place).await?;
    Ok(Some([context.as_slice(), &new.tokens].concat()))
}

//! THE pipeline: everything that produces text goes through `App::chat`. This is the only place that
//! calls `Backend::chat`.

use std::future::ready;

use futures_util::StreamExt;

use super::{
    App, Caller,
    catalog::Route,
    checked::{checked, prepare},
    forced_call::force_call,
    tool_text::{CallReader, read_calls},
};
use crate::{
    cache::Events,
    error::{Error, Kind, Result},
    types::{CacheStatus, ChatEvent, ChatRequest, Done, Message, Prompt, TokenLogprob, ToolCall},
};

/// A reply whose events are still to come. Dropping it stops the work behind it, unless another request has
/// joined.
pub struct ChatReply {
    /// The model that answers.
    pub model: String,
    pub events: Events,
    pub cache_status: CacheStatus,
}

/// A reply as a whole.
#[derive(Debug, Default)]
pub struct Collected {
    pub text: String,
    /// Reasoning that a thinking model wrote before its answer; empty when there is none.
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    /// Of the text's tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// Further answers to the same request, where several were asked for.
    pub others: Vec<Self>,
    pub done: Done,
}

impl ChatReply {
    /// Waits for the end of the reply, or of the next one when its events are those of several.
    ///
    /// # Errors
    /// The failure that ended it, and `BadGateway` when it stopped without an end.
    pub async fn collect(&mut self) -> Result<Collected> {
        let mut all = Collected::default();
        while let Some(event) = self.events.next().await {
            match event? {
                ChatEvent::Text(more) if all.text.is_empty() => all.text = more,
                ChatEvent::Text(more) => all.text.push_str(&more),
                ChatEvent::Thinking(more) => all.thinking.push_str(&more),
                ChatEvent::ToolCall(call) => all.tool_calls.push(*call),
                ChatEvent::Logprobs(tokens) => all.logprobs.extend(tokens),
                ChatEvent::Done(done) => return Ok(Collected { done: *done, ..all }),
            }
        }
        Err(incomplete())
    }
}

/// Leaves out all tool calls but the first: some backends cannot be told to make only one.
fn first_call(events: Events) -> Events {
    let mut has_called = false;
    Box::pin(events.filter(move |event| {
        let is_call = matches!(event, Ok(ChatEvent::ToolCall(_)));
        let is_kept = !(is_call && has_called);
        has_called |= is_call;
        ready(is_kept)
    }))
}

/// Error for a reply that stopped without an end.
pub fn incomplete() -> Error {
    Error::new(Kind::BadGateway, "The backend ended its response before it was complete.")
}

impl App {
    /// Answers a request: from the cache, together with an identical one that is running, or by the
    /// model. Returns when it is known which, and the backend has accepted the request.
    ///
    /// # Errors
    /// Whatever the backend says, in our kinds; see `http/middleware/errors.rs` for what a client makes of them.
    pub async fn chat(&self, caller: &Caller, mut request: ChatRequest) -> Result<ChatReply> {
        // Before the key is made: what a model states is part of what is asked.
        let route = self.complete(&mut request).await?;
        let key = self.cache.chat_key(&request, caller.is_native, route.scope(&caller.principal));
        let (model, backend) = (request.model.clone(), route.backend.name());
        let meter = self.meter(caller, (&route).into(), request.sampling.max_tokens);
        let produce = async move || -> Result<Events> {
            let (mut request, checks) = prepare(request).await?;
            let reader = CallReader::new(&request, &checks);
            force_call(&mut request);
            let is_parallel = request.parallel_tool_calls;
            let events = meter.run(route.backend.chat(request)).await?;
            let events = read_calls(events, reader);
            Ok(checked(if is_parallel { events } else { first_call(events) }, checks))
        };
        self.answer(caller, key, model, backend, produce).await
    }

    /// Adds to a request what its model states, and returns the route to that.
    ///
    /// # Errors
    /// Those of `ChatRequest::check`.
    pub(super) async fn complete(&self, request: &mut ChatRequest) -> Result<Route> {
        request.check()?;
        if let Prompt::Messages(messages) = &mut request.prompt {
            Message::order_answers(messages);
            Message::name_tools(messages);
        }
        let route = self.catalog.route(&request.model).await;
        route.defaults.apply(request);
        Ok(route)
    }
}

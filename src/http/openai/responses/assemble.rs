//! A reply on its way to the client: its events pass through here, and the response is stored before its end is
//! passed on.

use std::sync::Arc;

use async_stream::stream;
use futures_util::StreamExt;

use super::{
    output::Output,
    response::{Draft, Finished},
};
use crate::{
    app::{ChatReply, responses::Responses},
    store::responses::StoredResponse,
    types::{ChatEvent, Done, Principal},
};

/// Place where a response is stored.
pub(super) struct Keeping {
    pub(super) responses: Arc<Responses>,
    pub(super) owner: Principal,
    /// JSON of the input.
    pub(super) input: String,
}

/// Returns the same reply, which completes the draft before its last event. It is stored where `keeping` says; if that
/// fails, the response says that it is not stored.
pub(super) fn assemble(draft: Arc<Draft>, reply: ChatReply, keeping: Option<Keeping>) -> ChatReply {
    let ChatReply { model, mut events, cache_status } = reply;
    let events = stream! {
        let mut output = draft.output();
        while let Some(event) = events.next().await {
            match &event {
                Ok(ChatEvent::Done(done)) => finish(&draft, &output, done, keeping.as_ref()).await,
                Ok(event) => drop(output.push(event)),
                Err(_) => {}
            }
            yield event;
        }
    };
    ChatReply { model, events: Box::pin(events), cache_status }
}

async fn finish(draft: &Draft, output: &Output, done: &Done, keeping: Option<&Keeping>) {
    let (json, is_incomplete) = draft.done(output, done, draft.store);
    let mut finished = Finished { json, is_incomplete, is_stored: draft.store };
    if let Some(Keeping { responses, owner, input }) = keeping {
        let response = StoredResponse {
            id: draft.id,
            previous: draft.previous,
            is_finished: true,
            input: input.clone(),
            body: finished.json.get().to_owned(),
        };
        if let Err(error) = responses.put(owner, &response).await {
            tracing::warn!("a response could not be stored: {}", error.chain());
            let (json, is_incomplete) = draft.done(output, done, false);
            finished = Finished { json, is_incomplete, is_stored: false };
        }
    }
    // A reply has one end.
    let _ = draft.finished.set(finished);
}

//! Several answers in one reply: the first is streamed as it is made, while the others wait for their turn.

use std::{collections::HashSet, sync::Arc};

use async_stream::stream;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::{
    app::{App, Caller, ChatReply},
    cache::fingerprint,
    error::{Error, Kind, Result},
    types::{ChatEvent, ChatRequest},
};

/// Maximum number of answers in one reply. OpenAI allows 128; each takes a slot of the model.
pub(super) const MAX_CHOICES: usize = 16;

/// Returns `count` requests for one answer each. If there is a seed, each gets a different one, so that the answers differ.
pub(super) fn repeated(request: &ChatRequest, count: usize) -> Vec<ChatRequest> {
    let nth = |index: usize| {
        let mut request = request.clone();
        let index = i64::try_from(index).unwrap_or_default();
        request.sampling.seed = request.sampling.seed.map(|seed| seed.wrapping_add(index));
        request
    };
    (0..count).map(nth).collect()
}

/// Asks for all answers in parallel; the events of each answer follow those of the one before. Dropping the reply
/// stops them all.
///
/// # Errors
/// Those of `App::chat` for the first one; those of others come among the events.
pub(super) async fn ask(
    app: &Arc<App>,
    caller: &Caller,
    mut requests: Vec<ChatRequest>,
) -> Result<ChatReply> {
    if requests.len() == 1 {
        return app.chat(caller, requests.remove(0)).await;
    }
    let mut others = JoinSet::new();
    let first = requests.remove(0);
    let mut asked = HashSet::from([fingerprint(&first)]);
    for (index, request) in requests.into_iter().enumerate() {
        let (app, mut caller) = (Arc::clone(app), caller.clone());
        // Identical requests would share one answer.
        caller.cache_control.no_store |= !asked.insert(fingerprint(&request));
        others.spawn(async move { (index, events(&app, &caller, request).await) });
    }
    let ChatReply { model, mut events, cache_status } = app.chat(caller, first).await?;
    let all = stream! {
        while let Some(event) = events.next().await {
            yield event;
        }
        let mut answers: Vec<Option<Result<Vec<ChatEvent>>>> = Vec::new();
        answers.resize_with(others.len(), || None);
        for next in 0..answers.len() {
            while answers[next].is_none() {
                match others.join_next().await {
                    Some(Ok((index, answer))) => answers[index] = Some(answer),
                    Some(Err(source)) => {
                        yield Err(Error::new(Kind::Internal, "An answer was not completed.").with_source(source));
                        return;
                    }
                    None => return,
                }
            }
            match answers[next].take() {
                Some(Ok(events)) => {
                    for event in events {
                        yield Ok(event);
                    }
                }
                Some(Err(error)) => {
                    yield Err(error);
                    return;
                }
                None => return,
            }
        }
    };
    Ok(ChatReply { model, events: Box::pin(all), cache_status })
}

/// All events of an answer.
async fn events(app: &App, caller: &Caller, request: ChatRequest) -> Result<Vec<ChatEvent>> {
    let mut reply = app.chat(caller, request).await?;
    let mut events = Vec::new();
    while let Some(event) = reply.events.next().await {
        events.push(event?);
    }
    Ok(events)
}

//! Embedding: the only other verb beside `App::chat`, and the only place that calls
//! `Backend::embed`.

use std::sync::Arc;

use super::{App, Caller, metering::note};
use crate::{
    cache::Embedded,
    error::{Error, Kind, Result},
    request_context::scope,
    types::{EmbedReply, EmbedRequest, Usage},
};

impl App {
    /// Returns the text that token ids of a model stand for.
    ///
    /// # Errors
    /// Those of the backend, at `/input`.
    pub async fn text_of(&self, model: &str, tokens: &[u32]) -> Result<String> {
        self.catalog.route(model).await.backend.text_of(model, tokens).await
    }

    /// Embeds all texts with the model of the request, in order; only those that are not known go to
    /// the model.
    ///
    /// # Errors
    /// Whatever the backend says, and `BadGateway` when it answers with something else than one
    /// finite vector of the same length for each text.
    pub async fn embed(&self, caller: &Caller, request: EmbedRequest) -> Result<Embedded> {
        let EmbedRequest { model, input: _, truncate, keep_alive } = &request;
        let (asked, truncate, keep_alive) = (model.clone(), *truncate, *keep_alive);
        let route = self.catalog.route(model).await;
        let (backend, meter) = (Arc::clone(&route.backend), self.meter(caller, (&route).into(), None));
        let ask = async move |input: Vec<String>| {
            let texts = input.len();
            let request = EmbedRequest { model: asked, input, truncate, keep_alive };
            let mut call = meter.begin();
            let answered = scope(call.context(), backend.embed(request)).await;
            let sound = answered.and_then(|reply| validate(&reply, texts).map(|()| reply));
            match &sound {
                Ok(reply) => call.answered(usage(reply), reply.timings.queue),
                Err(error) => call.failed(error),
            }
            sound
        };
        let scope = route.scope(&caller.principal);
        let embedded = self.cache.embed(request, scope, caller.cache_control, ask).await?;
        note(&caller.recorder, &embedded.cache_status, route.backend.name());
        if let Some(reply) = &embedded.call {
            caller.recorder.usage(usage(reply));
            reply.timings.queue.into_iter().for_each(|waited| caller.recorder.queue(waited));
        }
        Ok(embedded)
    }
}

fn usage(reply: &EmbedReply) -> Usage {
    Usage { prompt_tokens: reply.prompt_tokens, ..Usage::default() }
}

fn validate(reply: &EmbedReply, texts: usize) -> Result<()> {
    let length = reply.embeddings.first().map_or(0, Vec::len);
    let sound = reply.embeddings.len() == texts
        && length > 0
        && reply
            .embeddings
            .iter()
            .all(|vector| vector.len() == length && vector.iter().all(|x| x.is_finite()));
    if sound {
        Ok(())
    } else {
        Err(Error::new(Kind::BadGateway, "The backend returned embeddings that do not match the texts."))
    }
}

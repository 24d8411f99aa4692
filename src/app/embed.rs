//! Embedding: the only other verb beside `App::chat`, and the only place that calls
//! `Backend::embed`.

use std::sync::Arc;

use super::{App, Caller};
use crate::{
    cache::Embedded,
    error::{Error, Kind, Result},
    types::{EmbedReply, EmbedRequest, Usage},
};

impl App {
    /// Embeds all texts with the model of the request, in order; only those that are not known go to
    /// the model.
    ///
    /// # Errors
    /// Whatever the backend says, and `BadGateway` when it answers with something else than one
    /// finite vector of the same length for each text.
    pub async fn embed(&self, caller: &Caller, request: EmbedRequest) -> Result<Embedded> {
        let EmbedRequest { model, input, keep_alive } = request;
        let digest = self.models.digest(&model).await;
        let (backend, metrics) = (Arc::clone(&self.backend), Arc::clone(&self.metrics));
        let (asked, endpoint) = (model.clone(), caller.endpoint);
        let ask = async move |input: Vec<String>| {
            let texts = input.len();
            let request = EmbedRequest { model: asked.clone(), input, keep_alive };
            let reply = backend.embed(request).await?;
            validate(&reply, texts)?;
            let usage = Usage { prompt_tokens: reply.prompt_tokens, completion_tokens: 0 };
            metrics.llm_answered(&asked, endpoint, usage);
            Ok(reply)
        };
        let origin = self.origin(digest.as_deref(), caller);
        self.cache.embed(input, &model, origin, caller.directives, ask).await
    }
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
        Err(Error::new(Kind::BadGateway, "The backend answered with embeddings that do not fit the texts."))
    }
}

//! Embedding: the only other verb beside `App::chat`, and the only place that calls
//! `Backend::embed`.

use super::{App, Caller};
use crate::{
    error::{Error, Kind, Result},
    types::{EmbedReply, EmbedRequest, Usage},
};

impl App {
    /// Embeds all texts with the model of the request, in order.
    ///
    /// # Errors
    /// Whatever the backend says, and `BadGateway` when it answers with something else than one
    /// finite vector of the same length for each text.
    pub async fn embed(&self, caller: &Caller, request: EmbedRequest) -> Result<EmbedReply> {
        let model = request.model.clone();
        let texts = request.input.len();
        let reply = self.backend.embed(request).await?;
        validate(&reply, texts)?;
        let usage = Usage { prompt_tokens: reply.prompt_tokens, completion_tokens: 0 };
        self.metrics.llm_answered(&model, caller.endpoint, usage);
        Ok(reply)
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

//! THE pipeline: whatever answers with text (a model, OCR) does it as a producer here.

use super::{
    App, Caller, ChatReply,
    metering::{RecordedEvents, note},
};
use crate::{
    cache::{CacheKey, Events},
    error::Result,
};

impl App {
    /// Answers under a key: from the cache, from an identical request in progress, or by the producer, whose
    /// answer is then cached. Without a key the producer always answers. `model` is the name in the reply.
    ///
    /// # Errors
    /// Those of the producer.
    pub(super) async fn answer<F>(
        &self,
        caller: &Caller,
        key: Option<CacheKey>,
        model: String,
        backend: &'static str,
        produce: impl FnOnce() -> F + Send + 'static,
    ) -> Result<ChatReply>
    where
        F: Future<Output = Result<Events>> + Send + 'static,
    {
        let (events, cache_status) = self.cache.chat(key, caller.cache_control, produce).await?;
        note(&caller.recorder, &cache_status, backend);
        let events = RecordedEvents::new(events, &cache_status, caller.recorder.clone());
        Ok(ChatReply { model, events: Box::pin(events), cache_status })
    }
}

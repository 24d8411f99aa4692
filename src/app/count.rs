//! Counting the tokens of a prompt. This is the only place that calls `Backend::count_prompt`.

use super::{App, Caller, checked::prepare, metering::note};
use crate::{
    error::Result,
    types::{CacheStatus, ChatRequest},
};

impl App {
    /// Counts the tokens that a request's prompt has when the model reads it.
    ///
    /// # Errors
    /// Those of `Backend::count_prompt`.
    pub async fn count_prompt(&self, caller: &Caller, mut request: ChatRequest) -> Result<u64> {
        let route = self.complete(&mut request).await?;
        if route.listed.is_some() {
            caller.recorder.model(route.label());
        }
        note(&caller.recorder, &CacheStatus::Bypass, route.backend.name());
        let (request, _) = prepare(request).await?;
        route.backend.count_prompt(request).await
    }
}

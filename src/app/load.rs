//! Loading a model, or letting go of it, without a question. This is the only place that calls
//! `Backend::load`.

use futures_util::stream;

use super::{App, Caller, ChatReply, metering::note};
use crate::{
    error::Result,
    request_context::scope,
    types::{CacheStatus, LoadOptions, Usage},
};

impl App {
    /// Loads a model, or with a `keep_alive` of zero unloads it. The reply is only an end, with the model's own name.
    ///
    /// # Errors
    /// Those of `Backend::load`.
    pub async fn load(&self, caller: &Caller, model: String, options: LoadOptions) -> Result<ChatReply> {
        let route = self.catalog.route(&model).await;
        let mut call = self.meter(caller, (&route).into(), None).begin();
        let loaded = scope(call.context(), route.backend.load(&model, options)).await;
        let done = loaded.inspect_err(|error| call.failed(error))?;
        call.answered(Usage::default(), done.timings.queue);
        note(&caller.recorder, &CacheStatus::Bypass, route.backend.name());
        let events = Box::pin(stream::iter([Ok(done.into())]));
        Ok(ChatReply { model: route.label().as_ref().to_owned(), events, cache_status: CacheStatus::Bypass })
    }
}

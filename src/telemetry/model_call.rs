//! Recorder of one call of a model. It is no part of a request's recorder: several requests may
//! share one call, and it goes on when the one that began it has left.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    labels::{CLIENT_CLOSED, OTHER_MODEL, error_type},
    record::ModelCall,
    sink::Sinks,
};
use crate::{
    error::Error,
    request_context::Context,
    types::{KeyId, Usage},
};

/// A call that is running; it ends when this is dropped.
pub struct ModelCallRecorder {
    call: ModelCall,
    listed: bool,
    began: Instant,
    sinks: Sinks,
}

/// Caller and backend of a model call.
#[derive(Clone, Debug)]
pub struct ModelCallOrigin {
    pub backend: &'static str,
    /// Method and template of the route whose request began it.
    pub method: &'static str,
    pub endpoint: &'static str,
    pub key: KeyId,
    /// The request that began it.
    pub context: Arc<Context>,
}

impl ModelCallRecorder {
    /// `listed` says whether the backend lists the model.
    pub fn begin(sinks: Sinks, model: Arc<str>, listed: bool, from: ModelCallOrigin) -> Self {
        sinks.call_began();
        let began = Instant::now();
        let call = ModelCall {
            model,
            backend: from.backend,
            method: from.method,
            endpoint: from.endpoint,
            key: from.key,
            usage: None,
            queue: None,
            first_token: None,
            duration: Duration::ZERO,
            error: None,
            ended_at: SystemTime::UNIX_EPOCH,
            ended: began,
            context: from.context.child(),
        };
        Self { call, listed, began, sinks }
    }

    /// Context in which the work of this call is done.
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.call.context)
    }

    /// An event of the answer is there; the first one counts.
    pub fn event(&mut self) {
        if self.call.first_token.is_none() {
            self.call.first_token = Some(self.began.elapsed());
        }
    }

    pub fn answered(&mut self, usage: Usage, queue: Option<Duration>) {
        (self.call.usage, self.call.queue) = (Some(usage), queue);
    }

    pub fn failed(&mut self, error: &Error) {
        self.call.error = Some(error_type(error.kind()));
    }
}

impl Drop for ModelCallRecorder {
    fn drop(&mut self) {
        let call = &mut self.call;
        (call.ended, call.ended_at) = (Instant::now(), SystemTime::now());
        call.duration = call.ended - self.began;
        if call.usage.is_none() && call.error.is_none() {
            call.error = Some(CLIENT_CLOSED);
        }
        // Names can be invented, answers cannot.
        if call.usage.is_none() && !self.listed {
            call.model = OTHER_MODEL.into();
        }
        self.sinks.call_ended(call);
    }
}

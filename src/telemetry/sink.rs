//! Sinks of finished records: metrics, aggregates, log lines, traces. Monitoring that is off has
//! fewer sinks.

use std::sync::Arc;

use super::{
    labels::Purpose,
    record::{ModelCall, RequestRecord},
};

/// Called on the thread that has just passed on a reply's last byte: what takes longer than a
/// microsecond or waits for anything is done elsewhere.
pub trait Sink: Send + Sync + 'static {
    fn request_began(&self, _: Purpose) {}

    /// Once for each request that began.
    fn request_ended(&self, _: &RequestRecord) {}

    fn call_began(&self) {}

    /// Once for each call that began.
    fn call_ended(&self, _: &ModelCall) {}
}

#[derive(Clone)]
pub struct Sinks(Arc<[Arc<dyn Sink>]>);

impl Sinks {
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Self(sinks.into())
    }

    pub(super) fn request_began(&self, purpose: Purpose) {
        self.0.iter().for_each(|sink| sink.request_began(purpose));
    }

    pub(super) fn request_ended(&self, request: &RequestRecord) {
        self.0.iter().for_each(|sink| sink.request_ended(request));
    }

    pub(super) fn call_began(&self) {
        self.0.iter().for_each(|sink| sink.call_began());
    }

    pub(super) fn call_ended(&self, call: &ModelCall) {
        self.0.iter().for_each(|sink| sink.call_ended(call));
    }
}

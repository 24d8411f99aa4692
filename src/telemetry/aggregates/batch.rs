//! Per-thread batch of samples since the last collection.

use super::{
    Aggregates, Recent,
    failures::Failures,
    pending::{Minute, minute},
    window::Second,
};
use crate::telemetry::{
    metrics::HttpMetrics,
    record::{ModelCall, RequestRecord},
    sample::RequestSample,
};

/// Requests that are counted in one go.
const GO: usize = 32;

/// Batch of one thread, collected every few seconds, so that its lists have an entry or two.
#[derive(Default)]
pub(super) struct Batch {
    /// Not counted yet.
    entries: Vec<RequestSample>,
    pub(super) minutes: Vec<(Minute, Aggregates)>,
    pub(super) seconds: Vec<(Second, Recent)>,
    pub(super) failures: Failures,
}

impl Batch {
    pub(super) fn request(&mut self, second: Second, request: &RequestRecord, metrics: &HttpMetrics) {
        self.entries.push(RequestSample::new(request, second));
        self.failures.request(request);
        if self.entries.len() >= GO {
            self.count(metrics);
        }
    }

    pub(super) fn count(&mut self, metrics: &HttpMetrics) {
        for entry in self.entries.drain(..) {
            metrics.count(&entry);
            if let Some(happened) = Recent::of_request(&entry) {
                of(&mut self.seconds, entry.second).add(&happened);
            }
            of(&mut self.minutes, minute(entry.ended_at)).request(&entry);
        }
    }

    pub(super) fn call(&mut self, second: Second, call: &ModelCall) {
        of(&mut self.seconds, second).add(&Recent::of_call(call));
        of(&mut self.minutes, minute(call.ended_at)).call(call);
    }
}

/// Returns the entry for a time, which is nearly always the last one.
fn of<K: PartialEq, V: Default>(list: &mut Vec<(K, V)>, time: K) -> &mut V {
    let at = list.iter().rposition(|(known, _)| *known == time).unwrap_or_else(|| {
        list.push((time, V::default()));
        list.len() - 1
    });
    &mut list[at].1
}

//! Counters of exported and dropped spans.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::telemetry::text::Exposition;

#[derive(Default)]
pub struct TraceMetrics {
    pub exported: AtomicU64,
    /// The collector did not take them.
    pub failed: AtomicU64,
    /// There was no room for them.
    pub dropped: AtomicU64,
}

impl TraceMetrics {
    pub(super) fn render(&self, out: &mut Exposition) {
        let name = "simpleton_trace_spans_total";
        out.family(name, "counter", "Trace spans for the OpenTelemetry collector, by outcome.");
        for (outcome, count) in
            [("exported", &self.exported), ("failed", &self.failed), ("dropped", &self.dropped)]
        {
            out.sample(name, &[("outcome", outcome)], count.load(Relaxed) as f64);
        }
    }
}

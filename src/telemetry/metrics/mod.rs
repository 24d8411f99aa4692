//! Every metric of the service in one struct, split by what it is about. Recording is a few relaxed
//! atomic additions; labels come from closed sets (routes that exist, statuses, models that the
//! backend lists), so that the number of series does not depend on what unauthenticated callers send.

mod alerts;
mod cache;
mod documents;
mod engine;
mod gauges;
mod histogram;
mod http;
mod llm;
mod process;
mod table;
mod traces;
mod vision;

use std::sync::Arc;

use self::{alerts::AlertMetrics, llm::LlmMetrics, vision::VisionMetrics};
pub use self::{
    alerts::DeliveryMetrics,
    cache::CacheMetrics,
    documents::{DocumentMetrics, StoreOperation},
    gauges::{DocumentCounts, Gauges, ModelGauge},
    http::HttpMetrics,
    process::resident_bytes,
    traces::TraceMetrics,
};
pub use super::text::TextFormat;
use super::{
    labels::{Purpose, RouteLabel},
    logs,
    record::{ModelCall, RequestRecord},
    sink::Sink,
    text::Exposition,
};

pub struct Metrics {
    pub(super) http: Arc<HttpMetrics>,
    llm: LlmMetrics,
    pub cache: Arc<CacheMetrics>,
    pub vision: VisionMetrics,
    pub documents: DocumentMetrics,
    pub alerts: AlertMetrics,
    pub traces: Arc<TraceMetrics>,
}

impl Metrics {
    /// `routes` are all that exist.
    pub fn new(routes: &[RouteLabel]) -> Self {
        Self {
            http: Arc::new(HttpMetrics::new(routes)),
            llm: LlmMetrics::new(routes.iter().map(|route| route.template)),
            cache: Arc::default(),
            vision: VisionMetrics::default(),
            documents: DocumentMetrics::default(),
            alerts: AlertMetrics::default(),
            traces: Arc::default(),
        }
    }

    /// The route with its template as a constant, `labels::UNMATCHED` for what is no route. A path with
    /// one trailing slash more or less is the same route.
    pub fn route(&self, matched: Option<&str>) -> RouteLabel {
        self.http.route(matched)
    }

    /// Requests to the API whose reply has not ended.
    pub fn in_progress(&self) -> u64 {
        self.http.in_progress(Purpose::Api)
    }

    /// Everything that has been counted, in one of the text formats.
    pub fn render(&self, format: TextFormat, gauges: &Gauges) -> String {
        let mut out = Exposition::new(format);
        self.http.render(&mut out);
        self.llm.render(&mut out, gauges);
        engine::render(&mut out, gauges);
        self.cache.render(&mut out, gauges);
        self.vision.render(&mut out);
        self.documents.render(&mut out, gauges);
        self.alerts.render(&mut out);
        self.traces.render(&mut out);
        let name = "simpleton_log_lines_dropped_total";
        out.family(name, "counter", "Log lines dropped because standard error was not being read.");
        out.sample(name, &[], logs::dropped() as f64);
        process::render(&mut out);
        out.family("simpleton_build_info", "gauge", "Version of the running server.");
        out.sample("simpleton_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        out.finish()
    }
}

impl Sink for Metrics {
    fn request_began(&self, purpose: Purpose) {
        self.http.began(purpose);
    }

    fn request_ended(&self, request: &RequestRecord) {
        self.http.ended(request);
    }

    fn call_began(&self) {
        self.llm.began();
    }

    fn call_ended(&self, call: &ModelCall) {
        self.llm.ended(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        request_context::Context,
        telemetry::{
            labels,
            recorder::{RequestRecorder, RequestStart},
            sink::Sinks,
        },
    };

    #[test]
    fn series_come_from_closed_sets_only() {
        let metrics = Arc::new(Metrics::new(&[RouteLabel { template: "/a", purpose: Purpose::Api }]));
        let sinks = Sinks::new(vec![Arc::clone(&metrics) as Arc<dyn Sink>]);
        for n in 0..100 {
            let path = format!("/nowhere/{n}");
            let recorder = RequestRecorder::begin(
                sinks.clone(),
                RequestStart {
                    context: Arc::new(Context::new(Some(&format!("request-{n}")), None, None)),
                    method: labels::method(&format!("BREW{n}")),
                    endpoint: metrics.route(Some(&path)),
                    path,
                },
            );
            recorder.complete(404);
        }
        let text = metrics.render(TextFormat::Prometheus, &Gauges::default());
        assert!(text.contains(
            "simpleton_requests_total{method=\"other\",endpoint=\"unmatched\",status=\"404\"} 100\n"
        ));
        assert_eq!(text.lines().filter(|line| line.starts_with("simpleton_requests_total")).count(), 1);
        assert!(text.contains(
            "simpleton_request_duration_seconds_count{method=\"other\",endpoint=\"unmatched\"} 100\n"
        ));
        assert!(text.contains("simpleton_requests_in_progress 0\n"));
        assert!(!text.contains("request-"), "exemplars are OpenMetrics' only");
        let text = metrics.render(TextFormat::OpenMetrics, &Gauges::default());
        let exemplar = "le=\"0.001\"} 100 # {request_id=\"request-0\"} ";
        assert!(text.contains(exemplar), "{text}");
    }

    #[test]
    fn openmetrics_names_counters_without_total_and_ends_with_eof() {
        let text = Metrics::new(&[]).render(TextFormat::OpenMetrics, &Gauges::default());
        assert!(text.contains("# TYPE simpleton_llm_requests counter\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}

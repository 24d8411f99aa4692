//! HTTP request metrics.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::histogram::{Histogram, SECONDS};
use crate::telemetry::{
    labels::{ERROR_TYPES, METHODS, Purpose, RouteLabel, UNMATCHED},
    record::RequestRecord,
    text::Exposition,
};

pub struct HttpMetrics {
    /// By template.
    routes: HashMap<&'static str, Route>,
    /// Begun and not ended, by purpose.
    in_progress: [AtomicU64; 2],
}

#[derive(Default)]
struct Route {
    purpose: Purpose,
    errors: [AtomicU64; ERROR_TYPES.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// In the order of `METHODS`; made when the method is first seen.
    methods: [OnceLock<Box<Endpoint>>; METHODS.len()],
}

/// Counters of one method of one route.
struct Endpoint {
    /// Replies by status, 100 to 599.
    statuses: [AtomicU64; 500],
    duration: Histogram,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { statuses: std::array::from_fn(|_| AtomicU64::new(0)), duration: Histogram::new(SECONDS) }
    }
}

/// Counts no route.
impl Default for HttpMetrics {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl HttpMetrics {
    pub(super) fn new(routes: &[RouteLabel]) -> Self {
        let unmatched = RouteLabel { template: UNMATCHED, purpose: Purpose::Api };
        let counters =
            |label: RouteLabel| (label.template, Route { purpose: label.purpose, ..Route::default() });
        let routes = routes.iter().copied().chain([unmatched]).map(counters).collect();
        Self { routes, in_progress: Default::default() }
    }

    pub(super) fn route(&self, matched: Option<&str>) -> RouteLabel {
        let template = self.template(matched);
        RouteLabel { template, purpose: self.purpose(template) }
    }

    /// Returns the purpose of a route; one that is not known any more counts as the API's.
    pub(in crate::telemetry) fn purpose(&self, template: &str) -> Purpose {
        self.routes.get(template).map_or(Purpose::Api, |route| route.purpose)
    }

    fn template(&self, matched: Option<&str>) -> &'static str {
        let Some(matched) = matched else { return UNMATCHED };
        let routes = &self.routes;
        let found = routes.get_key_value(matched).or_else(|| match matched.strip_suffix('/') {
            Some(without) => routes.get_key_value(without),
            None => routes.get_key_value(format!("{matched}/").as_str()),
        });
        found.map_or(UNMATCHED, |(template, _)| template)
    }

    pub(super) fn began(&self, purpose: Purpose) {
        self.in_progress[purpose as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn in_progress(&self, purpose: Purpose) -> u64 {
        self.in_progress[purpose as usize].load(Relaxed)
    }

    pub(super) fn ended(&self, request: &RequestRecord) {
        self.in_progress[request.purpose as usize].fetch_sub(1, Relaxed);
        let Some(route) = self.routes.get(request.endpoint) else { return };
        route.received_bytes.fetch_add(request.facts.bytes_in, Relaxed);
        route.sent_bytes.fetch_add(request.facts.bytes_out, Relaxed);
        let method = METHODS.iter().position(|known| *known == request.method).unwrap_or(METHODS.len() - 1);
        let endpoint = route.methods[method].get_or_init(Box::default);
        endpoint.statuses[usize::from(request.status.clamp(100, 599)) - 100].fetch_add(1, Relaxed);
        endpoint.duration.record_for(request.duration, request.request_id(), request.ended_at);
        let error = request.facts.error.as_ref().map(|failure| failure.kind);
        if let Some(at) = error.and_then(|error| ERROR_TYPES.iter().position(|known| *known == error)) {
            route.errors[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let mut routes: Vec<(&str, &Route)> =
            self.routes.iter().map(|(name, route)| (*name, route)).collect();
        routes.sort_unstable_by_key(|(name, _)| *name);
        render_endpoints(out, &routes);
        out.family("simpleton_requests_in_progress", "gauge", "Requests in progress.");
        let in_progress = self.in_progress(Purpose::Api) + self.in_progress(Purpose::Service);
        out.sample("simpleton_requests_in_progress", &[], in_progress as f64);
        out.family("simpleton_errors_total", "counter", "Failed requests, by kind of error.");
        for (name, route) in &routes {
            for (error, count) in ERROR_TYPES.iter().zip(&route.errors) {
                let labels = [("endpoint", *name), ("error_type", *error)];
                out.counted("simpleton_errors_total", &labels, count.load(Relaxed));
            }
        }
        out.family("simpleton_request_bytes_total", "counter", "Bytes received in request bodies.");
        for (name, route) in &routes {
            let bytes = route.received_bytes.load(Relaxed);
            out.counted("simpleton_request_bytes_total", &[("endpoint", name)], bytes);
        }
        out.family("simpleton_response_bytes_total", "counter", "Bytes sent in response bodies.");
        for (name, route) in &routes {
            let bytes = route.sent_bytes.load(Relaxed);
            out.counted("simpleton_response_bytes_total", &[("endpoint", name)], bytes);
        }
    }
}

fn render_endpoints(out: &mut Exposition, routes: &[(&str, &Route)]) {
    let mut endpoints: Vec<(&str, &str, &Endpoint)> = Vec::new();
    for (name, route) in routes {
        for (method, made) in METHODS.iter().zip(&route.methods) {
            endpoints.extend(made.get().map(|endpoint| (*name, *method, &**endpoint)));
        }
    }
    out.family("simpleton_requests_total", "counter", "Requests, by method, route template and status.");
    for (route, method, endpoint) in &endpoints {
        for (at, count) in endpoint.statuses.iter().enumerate() {
            let count = count.load(Relaxed);
            if count > 0 {
                let status = (at + 100).to_string();
                let labels = [("method", *method), ("endpoint", *route), ("status", &status)];
                out.sample("simpleton_requests_total", &labels, count as f64);
            }
        }
    }
    let name = "simpleton_request_duration_seconds";
    out.family(name, "histogram", "Time from a request's headers to the last byte of its response.");
    for (route, method, endpoint) in &endpoints {
        endpoint.duration.render(out, name, &[("method", *method), ("endpoint", *route)]);
    }
}

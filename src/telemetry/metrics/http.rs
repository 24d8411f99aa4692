//! HTTP request metrics.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use super::histogram::{Histogram, SECONDS};
use crate::telemetry::{
    labels::{ERROR_TYPES, METHODS, Purpose, RouteLabel, UNMATCHED},
    sample::RequestSample,
    stripe::Striped,
    text::Exposition,
};

pub struct HttpMetrics(Striped<Counters>);

struct Counters {
    /// By template.
    routes: HashMap<&'static str, Route>,
    /// Begun minus ended on this thread, by purpose; a request may end on another one.
    in_progress: [AtomicI64; 2],
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
        Self(Striped::new(|| Counters {
            routes: routes.iter().copied().chain([unmatched]).map(counters).collect(),
            in_progress: Default::default(),
        }))
    }

    pub(super) fn route(&self, matched: Option<&str>) -> RouteLabel {
        let template = self.template(matched);
        RouteLabel { template, purpose: self.purpose(template) }
    }

    /// Returns the purpose of a route; one that is not known any more counts as the API's.
    pub(in crate::telemetry) fn purpose(&self, template: &str) -> Purpose {
        self.0.mine().routes.get(template).map_or(Purpose::Api, |route| route.purpose)
    }

    fn template(&self, matched: Option<&str>) -> &'static str {
        let Some(matched) = matched else { return UNMATCHED };
        let routes = &self.0.mine().routes;
        let found = routes.get_key_value(matched).or_else(|| match matched.strip_suffix('/') {
            Some(without) => routes.get_key_value(without),
            None => routes.get_key_value(format!("{matched}/").as_str()),
        });
        found.map_or(UNMATCHED, |(template, _)| template)
    }

    pub(super) fn began(&self, purpose: Purpose) {
        self.0.mine().in_progress[purpose as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn in_progress(&self, purpose: Purpose) -> u64 {
        let counts = self.0.all().map(|counters| counters.in_progress[purpose as usize].load(Relaxed));
        u64::try_from(counts.sum::<i64>()).unwrap_or(0)
    }

    pub(super) fn ended(&self, purpose: Purpose) {
        self.0.mine().in_progress[purpose as usize].fetch_sub(1, Relaxed);
    }

    pub(in crate::telemetry) fn count(&self, entry: &RequestSample) {
        let Some(route) = self.0.mine().routes.get(entry.endpoint) else { return };
        route.received_bytes.fetch_add(entry.bytes_in, Relaxed);
        route.sent_bytes.fetch_add(entry.bytes_out, Relaxed);
        let method = METHODS.iter().position(|known| *known == entry.method).unwrap_or(METHODS.len() - 1);
        let endpoint = route.methods[method].get_or_init(Box::default);
        endpoint.statuses[usize::from(entry.status.clamp(100, 599)) - 100].fetch_add(1, Relaxed);
        endpoint.duration.record_for(entry.duration, entry.id, entry.ended_at);
        if let Some(at) = entry.error.and_then(|error| ERROR_TYPES.iter().position(|known| *known == error)) {
            route.errors[at].fetch_add(1, Relaxed);
        }
    }

    /// Every route by name, as each thread has counted it.
    fn routes(&self) -> Vec<(&'static str, Vec<&Route>)> {
        let mut names: Vec<&'static str> = self.0.mine().routes.keys().copied().collect();
        names.sort_unstable();
        let copies = |name| self.0.all().filter_map(|counters| counters.routes.get(name)).collect();
        names.into_iter().map(|name| (name, copies(name))).collect()
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let routes = self.routes();
        render_endpoints(out, &routes);
        out.family("simpleton_requests_in_progress", "gauge", "Requests whose reply has not ended.");
        let in_progress = self.in_progress(Purpose::Api) + self.in_progress(Purpose::Service);
        out.sample("simpleton_requests_in_progress", &[], in_progress as f64);
        out.family("simpleton_errors_total", "counter", "Requests that failed, by kind of error.");
        for (name, copies) in &routes {
            for (at, error) in ERROR_TYPES.iter().enumerate() {
                let labels = [("endpoint", *name), ("error_type", *error)];
                out.counted("simpleton_errors_total", &labels, sum(copies, |route| &route.errors[at]));
            }
        }
        out.family("simpleton_request_bytes_total", "counter", "Bytes of requests' bodies.");
        for (name, copies) in &routes {
            let bytes = sum(copies, |route| &route.received_bytes);
            out.counted("simpleton_request_bytes_total", &[("endpoint", name)], bytes);
        }
        out.family("simpleton_response_bytes_total", "counter", "Bytes of replies' bodies.");
        for (name, copies) in &routes {
            let bytes = sum(copies, |route| &route.sent_bytes);
            out.counted("simpleton_response_bytes_total", &[("endpoint", name)], bytes);
        }
    }
}

fn sum<T>(copies: &[&T], counter: impl Fn(&T) -> &AtomicU64) -> u64 {
    copies.iter().map(|copy| counter(copy).load(Relaxed)).sum()
}

fn render_endpoints(out: &mut Exposition, routes: &[(&str, Vec<&Route>)]) {
    let methods = METHODS.iter().enumerate();
    let endpoints: Vec<(&str, &str, Vec<&Endpoint>)> = routes
        .iter()
        .flat_map(|(name, copies)| {
            methods.clone().map(move |(at, method)| {
                let made = copies.iter().filter_map(|route| route.methods[at].get().map(|made| &**made));
                (*name, *method, made.collect::<Vec<_>>())
            })
        })
        .filter(|(_, _, copies)| !copies.is_empty())
        .collect();
    out.family("simpleton_requests_total", "counter", "Requests by method, route template and status.");
    for (route, method, copies) in &endpoints {
        for at in 0..500 {
            let count = sum(copies, |endpoint| &endpoint.statuses[at]);
            if count > 0 {
                let status = (at + 100).to_string();
                let labels = [("method", *method), ("endpoint", *route), ("status", &status)];
                out.counted("simpleton_requests_total", &labels, count);
            }
        }
    }
    let name = "simpleton_request_duration_seconds";
    out.family(name, "histogram", "Time from a request's head to the last byte of its reply.");
    for (route, method, copies) in &endpoints {
        let copies: Vec<&Histogram> = copies.iter().map(|endpoint| &endpoint.duration).collect();
        Histogram::render(&copies, out, name, &[("method", *method), ("endpoint", *route)]);
    }
}

//! What is counted of requests.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use super::histogram::{Histogram, SECONDS};
use crate::telemetry::{
    labels::{ERROR_TYPES, METHODS, UNMATCHED},
    observation::Observed,
    text::Exposition,
};

pub(super) struct HttpMetrics {
    /// By template.
    routes: HashMap<&'static str, Route>,
    in_progress: AtomicI64,
}

#[derive(Default)]
struct Route {
    errors: [AtomicU64; ERROR_TYPES.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// In the order of `METHODS`; made when the method is first seen.
    methods: [OnceLock<Box<Endpoint>>; METHODS.len()],
}

/// What is counted for one method of one route.
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

impl HttpMetrics {
    pub(super) fn new(routes: impl Iterator<Item = &'static str>) -> Self {
        Self {
            routes: routes.chain([UNMATCHED]).map(|route| (route, Route::default())).collect(),
            in_progress: AtomicI64::new(0),
        }
    }

    pub(super) fn endpoint(&self, matched: Option<&str>) -> &'static str {
        let Some(matched) = matched else { return UNMATCHED };
        let found = self.routes.get_key_value(matched).or_else(|| match matched.strip_suffix('/') {
            Some(without) => self.routes.get_key_value(without),
            None => self.routes.get_key_value(format!("{matched}/").as_str()),
        });
        found.map_or(UNMATCHED, |(template, _)| template)
    }

    pub(super) fn began(&self) {
        self.in_progress.fetch_add(1, Relaxed);
    }

    pub(super) fn in_progress(&self) -> u64 {
        u64::try_from(self.in_progress.load(Relaxed)).unwrap_or(0)
    }

    pub(super) fn ended(&self, observed: &Observed) {
        self.in_progress.fetch_sub(1, Relaxed);
        let Some(route) = self.routes.get(observed.endpoint) else { return };
        route.received_bytes.fetch_add(observed.bytes_in, Relaxed);
        route.sent_bytes.fetch_add(observed.bytes_out, Relaxed);
        let method = METHODS.iter().position(|known| *known == observed.method).unwrap_or(METHODS.len() - 1);
        let endpoint = route.methods[method].get_or_init(Box::default);
        endpoint.statuses[usize::from(observed.status.clamp(100, 599)) - 100].fetch_add(1, Relaxed);
        endpoint.duration.record_for(observed.duration, observed.request_id(), observed.ended_at);
        let error = observed.error.as_ref().map(|failure| failure.kind);
        if let Some(at) = error.and_then(|error| ERROR_TYPES.iter().position(|known| *known == error)) {
            route.errors[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let mut routes: Vec<(&str, &Route)> =
            self.routes.iter().map(|(name, route)| (*name, route)).collect();
        routes.sort_unstable_by_key(|(name, _)| *name);
        let endpoints: Vec<(&str, &str, &Endpoint)> = routes
            .iter()
            .flat_map(|(name, route)| {
                let methods = METHODS.iter().zip(&route.methods);
                methods.filter_map(|(method, endpoint)| Some((*name, *method, &**endpoint.get()?)))
            })
            .collect();
        render_endpoints(out, &endpoints);
        out.family("simpleton_requests_in_progress", "gauge", "Requests whose reply has not ended.");
        out.sample("simpleton_requests_in_progress", &[], self.in_progress() as f64);
        out.family("simpleton_errors_total", "counter", "Requests that failed, by kind of error.");
        for (name, route) in &routes {
            for (error, count) in ERROR_TYPES.iter().zip(&route.errors) {
                out.counted("simpleton_errors_total", &[("endpoint", name), ("error_type", error)], count);
            }
        }
        out.family("simpleton_request_bytes_total", "counter", "Bytes of requests' bodies.");
        for (name, route) in &routes {
            out.counted("simpleton_request_bytes_total", &[("endpoint", name)], &route.received_bytes);
        }
        out.family("simpleton_response_bytes_total", "counter", "Bytes of replies' bodies.");
        for (name, route) in &routes {
            out.counted("simpleton_response_bytes_total", &[("endpoint", name)], &route.sent_bytes);
        }
    }
}

fn render_endpoints(out: &mut Exposition, endpoints: &[(&str, &str, &Endpoint)]) {
    out.family("simpleton_requests_total", "counter", "Requests by method, route template and status.");
    for (route, method, endpoint) in endpoints {
        for (at, count) in endpoint.statuses.iter().enumerate() {
            if count.load(Relaxed) > 0 {
                let status = (at + 100).to_string();
                let labels = [("method", *method), ("endpoint", *route), ("status", &status)];
                out.counted("simpleton_requests_total", &labels, count);
            }
        }
    }
    let name = "simpleton_request_duration_seconds";
    out.family(name, "histogram", "Time from a request's head to the last byte of its reply.");
    for (route, method, endpoint) in endpoints {
        endpoint.duration.render(out, name, &[("method", *method), ("endpoint", *route)]);
    }
}

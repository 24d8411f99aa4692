//! Every metric of the service in one struct. Recording is a few relaxed atomic additions; labels
//! come from closed sets (routes that exist, statuses, models that answered), so that the number of
//! series does not depend on what strangers send.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use super::text::TextFormat;
use super::{cache::CacheMetrics, text::Exposition, vision::VisionMetrics};
use crate::{error::Kind, types::Usage};

/// Upper bounds in seconds: from a cache hit to a slow model's long answer.
const DURATION_BOUNDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What a path is counted under when it is no route of ours.
pub const UNMATCHED: &str = "unmatched";

const METHODS: [&str; 8] = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "other"];

/// What is measured when somebody looks, and not counted as it happens.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// By type: embedding, inference, chat, vision.
    pub cache_entries: [u64; 4],
    pub cache_memory_bytes: u64,
    pub cache_stored_bytes: u64,
    pub cache_evictions: u64,
    pub cache_errors: u64,
    pub cache_available: bool,
}

/// The log and metrics status of a request whose client left before the reply was complete.
pub const CLIENT_LEFT: u16 = 499;

pub struct Metrics {
    /// By route template.
    routes: HashMap<&'static str, Route>,
    /// Requests whose reply has not ended.
    in_progress: AtomicI64,
    pub cache: CacheMetrics,
    pub vision: VisionMetrics,
    /// By model and route template.
    llm: RwLock<HashMap<(String, &'static str), Arc<Llm>>>,
}

#[derive(Default)]
struct Route {
    errors: [AtomicU64; ERROR_TYPES.len()],
    /// In the order of `METHODS`; made when the method is first seen.
    methods: [OnceLock<Box<Endpoint>>; METHODS.len()],
}

/// What is counted for one method of one route.
struct Endpoint {
    /// Replies by status, 100 to 599.
    statuses: [AtomicU64; 500],
    duration: Histogram,
}

#[derive(Default)]
struct Llm {
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

struct Histogram {
    /// One for each bound and one for what is above the last.
    buckets: [AtomicU64; DURATION_BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Metrics {
    /// `routes` are the templates of all routes that exist.
    pub fn new(routes: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            routes: routes.into_iter().chain([UNMATCHED]).map(|route| (route, Route::default())).collect(),
            in_progress: AtomicI64::new(0),
            cache: CacheMetrics::default(),
            vision: VisionMetrics::default(),
            llm: RwLock::default(),
        }
    }

    /// The route template as a constant, `UNMATCHED` for what is no route. A path with one trailing
    /// slash more or less is the same route.
    pub fn endpoint(&self, matched: Option<&str>) -> &'static str {
        let Some(matched) = matched else { return UNMATCHED };
        let found = self.routes.get_key_value(matched).or_else(|| match matched.strip_suffix('/') {
            Some(without) => self.routes.get_key_value(without),
            None => self.routes.get_key_value(format!("{matched}/").as_str()),
        });
        found.map_or(UNMATCHED, |(template, _)| template)
    }

    pub fn request_started(&self) {
        self.in_progress.fetch_add(1, Relaxed);
    }

    /// Counts a request whose reply has ended, at its last byte or where the client left.
    pub fn request_ended(
        &self,
        endpoint: &'static str,
        method: &str,
        status: u16,
        error: Option<&'static str>,
        took: Duration,
    ) {
        self.in_progress.fetch_sub(1, Relaxed);
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let Some(route) = self.routes.get(endpoint) else { return };
        let endpoint = route.methods[method].get_or_init(Box::default);
        let status = usize::from(status.clamp(100, 599)) - 100;
        endpoint.statuses[status].fetch_add(1, Relaxed);
        endpoint.duration.record(took);
        if let Some(at) = error.and_then(|error| ERROR_TYPES.iter().position(|known| *known == error)) {
            route.errors[at].fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that a model has answered to its end.
    pub fn llm_answered(&self, model: &str, endpoint: &'static str, usage: Usage) {
        let llm = self.llm(model, endpoint);
        llm.requests.fetch_add(1, Relaxed);
        llm.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
        llm.completion_tokens.fetch_add(usage.completion_tokens, Relaxed);
    }

    fn llm(&self, model: &str, endpoint: &'static str) -> Arc<Llm> {
        let key = (model.to_owned(), endpoint);
        if let Some(llm) = self.llm.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(llm);
        }
        Arc::clone(self.llm.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }

    /// Everything, in one of the text formats.
    pub fn render(&self, format: TextFormat, gauges: &Gauges) -> String {
        let mut out = Exposition::new(format);
        let mut endpoints: Vec<(&str, &str, &Endpoint)> = self
            .routes
            .iter()
            .flat_map(|(name, route)| {
                let methods = METHODS.iter().zip(&route.methods);
                methods.filter_map(|(method, endpoint)| Some((*name, *method, &**endpoint.get()?)))
            })
            .collect();
        endpoints.sort_unstable_by_key(|(route, method, _)| (*route, *method));
        render_requests(&mut out, &endpoints);
        self.render_errors(&mut out);
        out.family("simpleton_requests_in_progress", "gauge", "Requests whose reply has not ended.");
        out.sample("simpleton_requests_in_progress", &[], self.in_progress.load(Relaxed) as f64);
        self.render_llm(&mut out);
        self.cache.render(&mut out, gauges);
        self.vision.render(&mut out);
        out.family("simpleton_build_info", "gauge", "The version that is running.");
        out.sample("simpleton_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        out.finish()
    }

    fn render_errors(&self, out: &mut Exposition) {
        out.family("simpleton_errors_total", "counter", "Requests that failed, by kind of error.");
        let mut routes: Vec<_> = self.routes.iter().collect();
        routes.sort_unstable_by_key(|(name, _)| **name);
        for (name, route) in routes {
            for (error, count) in ERROR_TYPES.iter().zip(&route.errors) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let labels = [("endpoint", *name), ("error_type", *error)];
                    out.sample("simpleton_errors_total", &labels, count as f64);
                }
            }
        }
    }

    fn render_llm(&self, out: &mut Exposition) {
        let llm = self.llm.read().unwrap_or_else(PoisonError::into_inner);
        let mut series: Vec<_> = llm.iter().collect();
        series.sort_unstable_by_key(|(key, _)| (*key).clone());
        out.family("simpleton_llm_requests_total", "counter", "Requests that a model has answered.");
        for ((model, endpoint), llm) in &series {
            let labels = [("model", model.as_str()), ("endpoint", *endpoint)];
            out.sample("simpleton_llm_requests_total", &labels, llm.requests.load(Relaxed) as f64);
        }
        // The brief counts tokens by model, whichever endpoint they came by.
        let mut tokens: Vec<(&str, [u64; 2])> = Vec::new();
        for ((model, _), llm) in &series {
            let counts = [llm.prompt_tokens.load(Relaxed), llm.completion_tokens.load(Relaxed)];
            match tokens.last_mut() {
                Some((last, sums)) if last == model => (0..2).for_each(|at| sums[at] += counts[at]),
                _ => tokens.push((model, counts)),
            }
        }
        out.family("simpleton_llm_tokens_total", "counter", "Tokens that models have read and written.");
        for (model, counts) in tokens {
            for (kind, count) in ["prompt", "completion"].into_iter().zip(counts) {
                let labels = [("model", model), ("token_type", kind)];
                out.sample("simpleton_llm_tokens_total", &labels, count as f64);
            }
        }
    }
}

fn render_requests(out: &mut Exposition, endpoints: &[(&str, &str, &Endpoint)]) {
    out.family("simpleton_requests_total", "counter", "Requests by method, route template and status.");
    for (route, method, endpoint) in endpoints {
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
    out.family(name, "histogram", "Time from a request's head to the last byte of its reply.");
    for (route, method, endpoint) in endpoints {
        endpoint.duration.render(out, name, &[("method", *method), ("endpoint", *route)]);
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            statuses: std::array::from_fn(|_| AtomicU64::new(0)),
            duration: Histogram {
                buckets: std::array::from_fn(|_| AtomicU64::new(0)),
                sum_us: AtomicU64::new(0),
            },
        }
    }
}

impl Histogram {
    fn record(&self, value: Duration) {
        let seconds = value.as_secs_f64();
        let at = DURATION_BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(u64::try_from(value.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn render(&self, out: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        let bounds = DURATION_BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (in_bucket, bound) in self.buckets.iter().zip(bounds) {
            count += in_bucket.load(Relaxed);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            out.sample(&bucket, &labels, count as f64);
        }
        out.sample(&format!("{name}_sum"), labels, self.sum_us.load(Relaxed) as f64 / 1e6);
        out.sample(&format!("{name}_count"), labels, count as f64);
    }
}

const ERROR_TYPES: [&str; 16] = [
    "malformed",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "too_large",
    "request_timeout",
    "invalid",
    "busy",
    "bad_gateway",
    "unavailable",
    "gateway_timeout",
    "setup",
    "internal",
    "client_left",
];

/// The value of the label `error_type`.
pub fn error_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Malformed => "malformed",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "not_found",
        Kind::MethodNotAllowed => "method_not_allowed",
        Kind::UnsupportedMediaType => "unsupported_media_type",
        Kind::TooLarge => "too_large",
        Kind::RequestTimeout => "request_timeout",
        Kind::Invalid => "invalid",
        Kind::Busy => "busy",
        Kind::BadGateway => "bad_gateway",
        Kind::Unavailable => "unavailable",
        Kind::GatewayTimeout => "gateway_timeout",
        Kind::Setup => "setup",
        Kind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_from_closed_sets_only() {
        let metrics = Metrics::new(["/a"]);
        for n in 0..100 {
            metrics.request_started();
            let endpoint = metrics.endpoint(Some(&format!("/nowhere/{n}")));
            metrics.request_ended(
                endpoint,
                &format!("BREW{n}"),
                404,
                Some("not_found"),
                Duration::from_millis(2),
            );
        }
        let text = metrics.render(TextFormat::Prometheus, &Gauges::default());
        assert!(text.contains(
            "simpleton_requests_total{method=\"other\",endpoint=\"unmatched\",status=\"404\"} 100\n"
        ));
        assert_eq!(text.lines().filter(|line| line.starts_with("simpleton_requests_total")).count(), 1);
        assert!(text.contains("simpleton_request_duration_seconds_bucket{method=\"other\",endpoint=\"unmatched\",le=\"0.0025\"} 100\n"));
        assert!(text.contains("simpleton_requests_in_progress 0\n"));
    }

    #[test]
    fn every_kind_of_error_is_counted() {
        for kind in [Kind::Malformed, Kind::Setup, Kind::Internal, Kind::Busy, Kind::GatewayTimeout] {
            assert!(ERROR_TYPES.contains(&error_type(kind)));
        }
    }

    #[test]
    fn openmetrics_names_counters_without_total_and_ends_with_eof() {
        let text = Metrics::new([]).render(TextFormat::OpenMetrics, &Gauges::default());
        assert!(text.contains("# TYPE simpleton_llm_requests counter\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}

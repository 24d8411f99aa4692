//! Metrics of model calls, by model, and of their errors, by backend.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    gauges::Gauges,
    histogram::{Histogram, SECONDS, TOKEN_SECONDS},
    table::Table,
};
use crate::telemetry::{
    labels::{CLIENT_CLOSED, ERROR_TYPES},
    record::ModelCall,
    text::Exposition,
};

pub(super) struct LlmMetrics {
    /// The route templates, each with its place in `Model::requests`.
    routes: HashMap<&'static str, usize>,
    models: Table<Model>,
    backends: Table<Backend>,
    /// Calls that have begun and not ended.
    running: AtomicU64,
}

/// The most routes that there are.
const ROUTES: usize = 64;

struct Model {
    /// Answered to the end, by route.
    requests: [AtomicU64; ROUTES],
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    first_token: Histogram,
    per_token: Histogram,
    queue: Histogram,
}

#[derive(Default)]
struct Backend {
    errors: [AtomicU64; ERROR_TYPES.len()],
}

impl Default for Model {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            first_token: Histogram::new(SECONDS),
            per_token: Histogram::new(TOKEN_SECONDS),
            queue: Histogram::new(SECONDS),
        }
    }
}

impl LlmMetrics {
    pub(super) fn new(routes: impl Iterator<Item = &'static str>) -> Self {
        let routes = routes.enumerate().map(|(at, route)| (route, at)).collect();
        Self { routes, models: Table::new(), backends: Table::new(), running: AtomicU64::new(0) }
    }

    pub(super) fn began(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, call: &ModelCall) {
        self.running.fetch_sub(1, Relaxed);
        let model = self.models.entry(&call.model);
        call.first_token.into_iter().for_each(|took| model.first_token.record(took));
        call.per_token().into_iter().for_each(|took| model.per_token.record(took));
        call.queue.into_iter().for_each(|waited| model.queue.record(waited));
        if let Some(usage) = call.usage {
            let route = self.routes.get(call.endpoint).and_then(|at| model.requests.get(*at));
            route.into_iter().for_each(|requests| _ = requests.fetch_add(1, Relaxed));
            model.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
            model.completion_tokens.fetch_add(usage.completion_tokens, Relaxed);
            model.cached_tokens.fetch_add(usage.cached_tokens.unwrap_or(0), Relaxed);
        }
        let error = call.error.filter(|error| *error != CLIENT_CLOSED);
        if let Some(at) = error.and_then(|error| ERROR_TYPES.iter().position(|known| *known == error)) {
            self.backends.entry(call.backend).errors[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn render(&self, out: &mut Exposition, gauges: &Gauges) {
        let models = self.models.list();
        self.render_requests(out, &models);
        for (name, help, histogram) in [
            (
                "simpleton_llm_time_to_first_token_seconds",
                "Time from a call to a model to the first event of its response.",
                (|model| &model.first_token) as fn(&Model) -> &Histogram,
            ),
            (
                "simpleton_llm_time_per_output_token_seconds",
                "Time per output token after the first.",
                |model| &model.per_token,
            ),
            ("simpleton_llm_queue_time_seconds", "Time spent waiting for a slot.", |model| &model.queue),
        ] {
            out.family(name, "histogram", help);
            for (model, metrics) in &models {
                histogram(metrics).render(out, name, &[("model", model)]);
            }
        }
        let (begun, waiting) = (self.running.load(Relaxed) as f64, gauges.waiting as f64);
        out.family("simpleton_llm_requests_running", "gauge", "Calls to models in progress.");
        out.sample("simpleton_llm_requests_running", &[], (begun - waiting).max(0.0));
        out.family("simpleton_llm_requests_waiting", "gauge", "Calls to models waiting for a slot.");
        out.sample("simpleton_llm_requests_waiting", &[], waiting);
        self.render_upstream_errors(out);
    }

    fn render_requests(&self, out: &mut Exposition, models: &[(&str, &Model)]) {
        let mut routes: Vec<(&str, usize)> = self.routes.iter().map(|(name, at)| (*name, *at)).collect();
        routes.sort_unstable();
        out.family("simpleton_llm_requests_total", "counter", "Requests answered by a model.");
        for (name, model) in models {
            for (route, at) in &routes {
                let Some(requests) = model.requests.get(*at) else { continue };
                let labels = [("model", *name), ("endpoint", *route)];
                out.counted("simpleton_llm_requests_total", &labels, requests.load(Relaxed));
            }
        }
        // The brief counts tokens by model, whichever endpoint they came by.
        out.family(
            "simpleton_llm_tokens_total",
            "counter",
            "Tokens that models have processed and generated.",
        );
        for (name, model) in models {
            for (kind, count) in [("prompt", &model.prompt_tokens), ("completion", &model.completion_tokens)]
            {
                let labels = [("model", *name), ("token_type", kind)];
                out.sample("simpleton_llm_tokens_total", &labels, count.load(Relaxed) as f64);
            }
        }
        let name = "simpleton_llm_cached_tokens_total";
        out.family(name, "counter", "Prompt tokens taken from a model's prompt cache.");
        for (model, metrics) in models {
            out.sample(name, &[("model", model)], metrics.cached_tokens.load(Relaxed) as f64);
        }
    }

    fn render_upstream_errors(&self, out: &mut Exposition) {
        out.family(
            "simpleton_upstream_errors_total",
            "counter",
            "Calls to a backend that failed or were refused.",
        );
        for (name, backend) in self.backends.list() {
            for (error, count) in ERROR_TYPES.iter().zip(&backend.errors) {
                let labels = [("backend", name), ("error_type", *error)];
                out.counted("simpleton_upstream_errors_total", &labels, count.load(Relaxed));
            }
        }
    }
}

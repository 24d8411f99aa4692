//! Totals over a period. Those of two periods, or of two servers, make those of
//! both by `merge`; as bytes they are a few kilobytes for a busy minute.

use std::{borrow::Cow, collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

use super::durations::Durations;
use crate::{
    telemetry::{
        labels::{CLIENT_CLOSED, CLIENT_CLOSED_STATUS, Purpose},
        record::{ModelCall, Outcome, RequestRecord},
    },
    types::{PerType, Usage},
};

pub(super) type Name = Cow<'static, str>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aggregates {
    pub endpoints: Endpoints,
    /// By name.
    pub models: BTreeMap<Name, ModelAggregates>,
    /// By the key's id.
    pub keys: BTreeMap<[u8; 4], KeyAggregates>,
    pub cache_hits: PerType<u64>,
    pub cache_misses: PerType<u64>,
    /// Refused requests without a valid key, by status. They are in none of the other totals.
    pub unauthenticated: BTreeMap<u16, u64>,
    /// The service's own routes, which are in none of the other figures; empty until they are set apart.
    #[serde(skip)]
    pub service: Endpoints,
}

/// By method and route template.
pub type Endpoints = BTreeMap<(Name, Name), EndpointAggregates>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointAggregates {
    /// Those that count for the error rate.
    pub errors: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// Of all requests, also of those whose client left.
    pub durations: Durations,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Tokens that models have read and written for it.
    pub tokens: Tokens,
}

/// The part of `Usage` that is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl From<Option<Usage>> for Tokens {
    fn from(usage: Option<Usage>) -> Self {
        let Usage { prompt_tokens, completion_tokens, .. } = usage.unwrap_or_default();
        Self { prompt_tokens, completion_tokens }
    }
}

/// Never beyond what the numbers hold: a file may tell what a backend once counted wrongly.
impl AddAssign for Tokens {
    fn add_assign(&mut self, more: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(more.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(more.completion_tokens);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelAggregates {
    /// Answered to the end.
    pub requests: u64,
    pub errors: u64,
    pub tokens: Tokens,
    pub first_token: Durations,
    pub per_token: Durations,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyAggregates {
    pub requests: u64,
    pub errors: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub tokens: Tokens,
}

impl Aggregates {
    pub(super) fn request(&mut self, request: &RequestRecord) {
        let outcome = request.outcome();
        if outcome == Outcome::Unauthenticated {
            *self.unauthenticated.entry(request.status).or_default() += 1;
            return;
        }
        let errors = u64::from(matches!(outcome, Outcome::Failed | Outcome::Refused));
        let endpoint = self.endpoint(request.method, request.endpoint);
        endpoint.errors += errors;
        *endpoint.statuses.entry(request.status).or_default() += 1;
        endpoint.durations.add(request.duration);
        endpoint.bytes_in += request.facts.bytes_in;
        endpoint.bytes_out += request.facts.bytes_out;
        if let Some(key) = request.facts.key.filter(|_| request.purpose == Purpose::Api) {
            let key = self.keys.entry(key.to_bytes()).or_default();
            key.requests += 1;
            key.errors += errors;
            key.bytes_in += request.facts.bytes_in;
            key.bytes_out += request.facts.bytes_out;
        }
    }

    pub(super) fn call(&mut self, call: &ModelCall) {
        let tokens = Tokens::from(call.usage);
        let model = match self.models.get_mut(&*call.model) {
            Some(model) => model,
            None => self.models.entry(call.model.to_string().into()).or_default(),
        };
        model.requests += u64::from(call.usage.is_some());
        // A caller that left is no failure of the model.
        model.errors += u64::from(call.error.is_some_and(|error| error != CLIENT_CLOSED));
        model.tokens += tokens;
        call.first_token.into_iter().for_each(|took| model.first_token.add(took));
        call.per_token().into_iter().for_each(|took| model.per_token.add(took));
        self.keys.entry(call.key.to_bytes()).or_default().tokens += tokens;
        self.endpoint(call.method, call.endpoint).tokens += tokens;
    }

    /// Returns what was counted for one endpoint; everything that is not counted by endpoint is empty.
    pub fn only(&self, method: &str, route: &str) -> Self {
        let name = (Cow::Owned(method.to_owned()), Cow::Owned(route.to_owned()));
        let endpoint = self.endpoints.get(&name).cloned();
        Self { endpoints: endpoint.map(|endpoint| (name, endpoint)).into_iter().collect(), ..Self::default() }
    }

    fn endpoint(&mut self, method: &'static str, endpoint: &'static str) -> &mut EndpointAggregates {
        self.endpoints.entry((method.into(), endpoint.into())).or_default()
    }

    pub(super) fn lookups(&mut self, hits: PerType<u64>, misses: PerType<u64>) {
        self.cache_hits += hits;
        self.cache_misses += misses;
    }

    /// Sets the service's own routes apart, which rows of the file hold together with the others.
    pub fn set_apart(&mut self, is_service: impl Fn(&str) -> bool) {
        let (service, api) =
            std::mem::take(&mut self.endpoints).into_iter().partition(|((_, route), _)| is_service(route));
        self.endpoints = api;
        merge_endpoints(&mut self.service, &service);
    }

    pub fn merge(&mut self, other: &Self) {
        merge_endpoints(&mut self.endpoints, &other.endpoints);
        merge_endpoints(&mut self.service, &other.service);
        for (name, model) in &other.models {
            match self.models.get_mut(name) {
                Some(ours) => ours.merge(model),
                None => _ = self.models.insert(name.clone(), model.clone()),
            }
        }
        for (id, key) in &other.keys {
            self.keys.entry(*id).or_default().merge(key);
        }
        self.lookups(other.cache_hits, other.cache_misses);
        for (status, count) in &other.unauthenticated {
            *self.unauthenticated.entry(*status).or_default() += count;
        }
    }

    /// The durations of all requests.
    pub fn durations(&self) -> Durations {
        let mut all = Durations::default();
        self.endpoints.values().for_each(|endpoint| all.merge(&endpoint.durations));
        all
    }

    pub fn errors(&self) -> u64 {
        self.endpoints.values().map(|endpoint| endpoint.errors).sum()
    }

    /// Errors without those of the callers: statuses from 500 on, and streams that broke off.
    pub fn failures(&self) -> u64 {
        let refused = |endpoint: &EndpointAggregates| {
            let refusals =
                endpoint.statuses.range(400..500).filter(|(status, _)| **status != CLIENT_CLOSED_STATUS);
            refusals.map(|(_, count)| count).sum::<u64>()
        };
        self.endpoints.values().map(|endpoint| endpoint.errors.saturating_sub(refused(endpoint))).sum()
    }

    pub fn requests(&self) -> u64 {
        self.endpoints.values().map(|endpoint| endpoint.durations.count).sum()
    }

    /// Percent of errors among requests.
    pub fn error_rate(&self) -> f64 {
        percent(self.errors(), self.requests())
    }

    /// Percent of hits among hits and misses of the cache.
    pub fn hit_rate(&self) -> f64 {
        let hits = self.cache_hits.sum();
        percent(hits, hits + self.cache_misses.sum())
    }

    /// Read and written by all models.
    pub fn tokens(&self) -> Tokens {
        let mut all = Tokens::default();
        self.models.values().for_each(|model| all += model.tokens);
        all
    }
}

fn merge_endpoints(ours: &mut Endpoints, others: &Endpoints) {
    for (name, endpoint) in others {
        // Not by `entry`, which would copy every name of every minute.
        match ours.get_mut(name) {
            Some(ours) => ours.merge(endpoint),
            None => _ = ours.insert(name.clone(), endpoint.clone()),
        }
    }
}

/// 0 when there is nothing to be a part of.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl EndpointAggregates {
    fn merge(&mut self, other: &Self) {
        let Self { errors, statuses, durations, bytes_in, bytes_out, tokens } = other;
        self.errors += errors;
        for (status, count) in statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.durations.merge(durations);
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.tokens += *tokens;
    }
}

impl ModelAggregates {
    fn merge(&mut self, other: &Self) {
        let Self { requests, errors, tokens, first_token, per_token } = other;
        self.requests += requests;
        self.errors += errors;
        self.tokens += *tokens;
        self.first_token.merge(first_token);
        self.per_token.merge(per_token);
    }
}

impl KeyAggregates {
    fn merge(&mut self, other: &Self) {
        let Self { requests, errors, bytes_in, bytes_out, tokens } = other;
        self.requests += requests;
        self.errors += errors;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.tokens += *tokens;
    }
}

//! Failed requests, for the record: the latest ones of callers with a key, and fewer of unauthenticated callers.

use std::{collections::VecDeque, time::UNIX_EPOCH};

use crate::telemetry::record::{Outcome, RequestRecord};

/// Failures of callers with a key, and of unauthenticated callers, that wait to be written; then the oldest go.
const FAILURES: usize = 1000;
const REFUSALS: usize = 100;

/// Characters of a failed request's path that are kept.
const PATH_CHARS: usize = 200;

/// A failed request, for the record.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRecord {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub request_id: String,
    pub method: String,
    /// As it was sent, without the query, cut off after 200 characters.
    pub path: String,
    pub status: u16,
    /// From `labels::error_type`.
    pub kind: String,
    pub message: String,
    /// Refused, from a caller without a valid key.
    pub unauthenticated: bool,
}

impl FailureRecord {
    /// A client that left is no failure of the service.
    fn of(request: &RequestRecord) -> Option<Self> {
        let failure = request.facts.error.as_ref()?;
        let outcome = request.outcome();
        if outcome == Outcome::ClientClosed {
            return None;
        }
        let since = request.ended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Self {
            at_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            request_id: request.request_id().to_owned(),
            method: request.method.to_owned(),
            path: request.path.chars().take(PATH_CHARS).collect(),
            status: request.status,
            kind: failure.kind.to_owned(),
            message: failure.message.clone(),
            unauthenticated: outcome == Outcome::Unauthenticated,
        })
    }
}

/// The oldest first.
#[derive(Default)]
pub(super) struct Failures {
    of_callers: VecDeque<FailureRecord>,
    of_unauthenticated: VecDeque<FailureRecord>,
}

impl Failures {
    pub(super) fn request(&mut self, request: &RequestRecord) {
        let Some(failure) = FailureRecord::of(request) else { return };
        if failure.unauthenticated {
            push(&mut self.of_unauthenticated, failure, REFUSALS);
        } else {
            push(&mut self.of_callers, failure, FAILURES);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&FailureRecord) -> bool) {
        self.of_callers.retain(&keep);
        self.of_unauthenticated.retain(&keep);
    }

    /// All of them, the oldest first.
    pub(super) fn to_vec(&self) -> Vec<FailureRecord> {
        let mut all: Vec<FailureRecord> =
            self.of_callers.iter().chain(&self.of_unauthenticated).cloned().collect();
        all.sort_by_key(|failure| failure.at_ms);
        all
    }
}

fn push(list: &mut VecDeque<FailureRecord>, failure: FailureRecord, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(failure);
}

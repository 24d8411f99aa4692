//! Finished records: one for each request and one for each call of a model, as every sink gets them.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::labels::{CLIENT_CLOSED_STATUS, Purpose};
use crate::{
    request_context::Context,
    types::{CacheStatus, KeyId, Usage},
};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// From `labels::error_type`.
    pub kind: &'static str,
    /// One sentence without anything that the caller or a backend has said.
    pub message: String,
}

/// A request whose reply has ended, or whose client has left.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    pub context: Arc<Context>,
    pub method: &'static str,
    pub endpoint: &'static str,
    pub purpose: Purpose,
    pub path: String,
    /// `labels::CLIENT_CLOSED_STATUS` when the client left before the last byte.
    pub status: u16,
    /// From the request's head to the last byte of the reply; to its beginning when it has no end.
    pub duration: Duration,
    /// By the wall clock, which may be put back at any time.
    pub ended_at: SystemTime,
    /// By the clock that only goes forward.
    pub ended: Instant,
    pub facts: RequestFacts,
}

/// Facts about a request that are set while it is handled.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// None for an unauthenticated caller: no key, or a wrong one.
    pub key: Option<KeyId>,
    /// A model that the backend lists.
    pub model: Option<Arc<str>>,
    /// None when no backend was asked.
    pub backend: Option<&'static str>,
    pub cache: Option<CacheStatus>,
    /// Time in the queue for a slot; none when it is not known.
    pub queue: Option<Duration>,
    /// From the request's head to the first event of the answer.
    pub first_token: Option<Duration>,
    /// Token counts stated in the reply, also when it was cached or made for another request: models'
    /// work is counted by `ModelCall`.
    pub usage: Option<Usage>,
    /// Of the bodies.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub error: Option<Failure>,
}

/// Outcome of a request in the service's own statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// Refused for what its caller has asked: it counts for the error rate, and raises no alert.
    Refused,
    /// Failed by the service or what is behind it.
    Failed,
    /// Refused, from a caller without a valid key: counted apart, so that a scan for paths and keys
    /// makes the service look neither worse nor better.
    Unauthenticated,
    ClientClosed,
}

impl RequestRecord {
    pub fn request_id(&self) -> &str {
        &self.context.request_id
    }

    pub fn client_closed(&self) -> bool {
        self.status == CLIENT_CLOSED_STATUS
    }

    pub fn outcome(&self) -> Outcome {
        match self.status {
            CLIENT_CLOSED_STATUS => Outcome::ClientClosed,
            400..=499 if self.facts.key.is_none() => Outcome::Unauthenticated,
            400..=499 => Outcome::Refused,
            500.. => Outcome::Failed,
            // A stream that broke off has had its status long before.
            _ if self.facts.error.is_some() => Outcome::Failed,
            _ => Outcome::Answered,
        }
    }
}

/// A call of a model that has ended.
#[derive(Clone, Debug)]
pub struct ModelCall {
    /// A model that the backend lists or that has answered, else `labels::OTHER_MODEL`: fit for a
    /// label.
    pub model: Arc<str>,
    pub backend: &'static str,
    /// Method and template of the route whose request began it, and whose key it came with.
    pub method: &'static str,
    pub endpoint: &'static str,
    pub key: KeyId,
    /// Set when the model has answered to the end.
    pub usage: Option<Usage>,
    /// Time in the queue for a slot; none when it is not known.
    pub queue: Option<Duration>,
    /// From the call to the first event of the answer.
    pub first_token: Option<Duration>,
    pub duration: Duration,
    /// From `labels::error_type`; `labels::CLIENT_CLOSED` when its clients left before the end.
    pub error: Option<&'static str>,
    pub ended_at: SystemTime,
    pub ended: Instant,
    /// The request that began it, with a span of the call's own.
    pub context: Arc<Context>,
}

impl ModelCall {
    /// Time for each token after the first.
    pub fn per_token(&self) -> Option<Duration> {
        let after_first = self.usage?.completion_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
        let took = self.duration.checked_sub(self.first_token?)?;
        Some(Duration::from_secs_f64(took.as_secs_f64() / after_first as f64))
    }
}

//! Per-request sample for metrics. It is small and owns nothing, so that a thread keeps some dozens of
//! them and counts them in one go: code and counters are then in the processor's cache for all but
//! the first.

use std::time::{Duration, SystemTime};

use super::{
    labels::Purpose,
    record::{Outcome, RequestRecord},
};
use crate::types::KeyId;

#[derive(Clone, Debug)]
pub(super) struct RequestSample {
    pub(super) method: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) purpose: Purpose,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) key: Option<KeyId>,
    /// From `labels::error_type`.
    pub(super) error: Option<&'static str>,
    pub(super) duration: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) ended_at: SystemTime,
    /// Since the start, by the clock that only goes forward.
    pub(super) second: u64,
    pub(super) id: ShortId,
}

impl RequestSample {
    pub(super) fn new(request: &RequestRecord, second: u64) -> Self {
        Self {
            method: request.method,
            endpoint: request.endpoint,
            purpose: request.purpose,
            status: request.status,
            outcome: request.outcome(),
            key: request.key,
            error: request.error.as_ref().map(|failure| failure.kind),
            duration: request.duration,
            bytes_in: request.bytes_in,
            bytes_out: request.bytes_out,
            ended_at: request.ended_at,
            second,
            id: ShortId::new(request.request_id()),
        }
    }
}

/// A request's id, padded with zeros; nothing but zeros when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShortId(pub(super) [u8; Self::BYTES]);

impl ShortId {
    pub(super) const BYTES: usize = 32;

    pub(super) fn new(id: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        if let Some(start) = bytes.get_mut(..id.len()) {
            start.copy_from_slice(id.as_bytes());
        }
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

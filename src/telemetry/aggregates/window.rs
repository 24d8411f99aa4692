//! The last hour in slots of a second, by the clock that only goes forward: what alerts and the live
//! view look at. A wall clock that is put back changes nothing here. The service's own routes are not
//! in it.

use std::time::Duration;

use super::totals::{Aggregates, Tokens};
use crate::telemetry::{
    labels::Purpose,
    record::{ModelCall, Outcome, RequestRecord},
};

/// Seconds since an hour before the start, so that totals of an earlier process have a place, too.
pub(super) type Second = u64;

/// Seconds that are remembered.
pub(super) const SLOTS: u64 = 3600;

/// Totals over the last seconds. All cover the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Without what unauthenticated callers were refused.
    pub requests: u64,
    /// Those that were refused, and those that failed.
    pub errors: u64,
    /// Those that the service, or what is behind it, has failed.
    pub failures: u64,
    /// The durations of all `requests` together.
    pub duration: Duration,
    pub tokens: Tokens,
    /// Lookups of the cache.
    pub cache_hits: u64,
    pub cache_misses: u64,
}

impl Recent {
    /// The mean duration of a request; zero when there was none.
    pub fn mean(&self) -> Duration {
        u32::try_from(self.requests).ok().filter(|n| *n > 0).map_or(Duration::ZERO, |n| self.duration / n)
    }

    /// Errors among requests, 0 to 1; 0 when there was none.
    pub fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// None for what counts nowhere.
    pub(super) fn of_request(request: &RequestRecord) -> Option<Self> {
        let outcome = request.outcome();
        let failures = u64::from(outcome == Outcome::Failed);
        let errors = failures + u64::from(outcome == Outcome::Refused);
        let counts = outcome != Outcome::Unauthenticated && request.purpose == Purpose::Api;
        counts.then(|| Self { requests: 1, errors, failures, duration: request.duration, ..Self::default() })
    }

    /// Sums the totals of some minutes, the service's own routes set apart.
    pub(super) fn of_figures(aggregates: &Aggregates) -> Self {
        Self {
            requests: aggregates.requests(),
            errors: aggregates.errors(),
            failures: aggregates.failures(),
            duration: Duration::try_from_secs_f64(aggregates.durations().sum()).unwrap_or(Duration::MAX),
            tokens: aggregates.tokens(),
            cache_hits: aggregates.cache_hits.sum(),
            cache_misses: aggregates.cache_misses.sum(),
        }
    }

    pub(super) fn of_call(call: &ModelCall) -> Self {
        Self { tokens: call.usage.into(), ..Self::default() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { requests, errors, failures, duration, tokens, cache_hits, cache_misses } = other;
        self.requests += requests;
        self.errors += errors;
        self.failures += failures;
        self.duration = self.duration.saturating_add(*duration);
        self.tokens += *tokens;
        self.cache_hits += cache_hits;
        self.cache_misses += cache_misses;
    }
}

/// Each slot has the second that it holds, and what happened in it.
pub(super) struct SlidingWindow(Vec<(Second, Recent)>);

impl SlidingWindow {
    pub(super) fn new() -> Self {
        Self(vec![(0, Recent::default()); SLOTS as usize])
    }

    pub(super) fn add(&mut self, second: Second, happened: &Recent) {
        let slot = &mut self.0[(second % SLOTS) as usize];
        if slot.0 < second {
            *slot = (second, Recent::default());
        }
        if slot.0 == second {
            slot.1.add(happened);
        }
    }

    /// The sum of the last `seconds`, the current one included; an hour at most.
    pub(super) fn recent(&self, now: Second, seconds: u64) -> Recent {
        let mut sum = Recent::default();
        for second in (now + 1).saturating_sub(seconds.min(SLOTS))..=now {
            let slot = &self.0[(second % SLOTS) as usize];
            if slot.0 == second {
                sum.add(&slot.1);
            }
        }
        sum
    }
}

//! The last hour in slots of a second, by the clock that only goes forward: what alerts and the live
//! view look at. A wall clock that is put back changes nothing here.

use std::time::Duration;

use crate::{
    telemetry::{call::Call, entry::Entry, observation::Outcome},
    types::Usage,
};

/// Seconds since the start.
pub(super) type Second = u64;

/// Seconds that are remembered.
const SLOTS: u64 = 3600;

/// What happened in the last while. All figures cover the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Without what strangers were refused.
    pub requests: u64,
    /// Those that count for the error rate.
    pub errors: u64,
    /// The durations of all `requests` together.
    pub duration: Duration,
    pub tokens: Usage,
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
    pub(super) fn of_request(request: &Entry) -> Option<Self> {
        let errors = u64::from(request.outcome == Outcome::Failed);
        let counts = request.outcome != Outcome::Stranger;
        counts.then(|| Self { requests: 1, errors, duration: request.duration, ..Self::default() })
    }

    pub(super) fn of_call(call: &Call) -> Self {
        Self { tokens: call.usage.unwrap_or_default(), ..Self::default() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { requests, errors, duration, tokens, cache_hits, cache_misses } = other;
        self.requests += requests;
        self.errors += errors;
        self.duration += *duration;
        self.tokens += *tokens;
        self.cache_hits += cache_hits;
        self.cache_misses += cache_misses;
    }
}

/// Each slot has the second that it holds, and what happened in it.
pub(super) struct Window(Vec<(Second, Recent)>);

impl Window {
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

//! Latencies of the last minute in slots of a second, for the quantiles of the live view. The service's own routes are
//! not in them.

use super::{durations::Durations, window::Second};

/// Seconds that are remembered.
const SECONDS: u64 = 60;

/// Times of one period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// Durations of requests.
    pub response: Durations,
    /// Times to first token, of calls of models.
    pub first_token: Durations,
}

/// Slots for as many seconds as are remembered, and for the current one, each with the second that it holds.
pub(super) struct LastMinute(Vec<(Second, Latencies)>);

impl Default for LastMinute {
    fn default() -> Self {
        Self(vec![(0, Latencies::default()); SECONDS as usize + 1])
    }
}

impl LastMinute {
    /// Slot of a second. A second that is too long ago, because its request has waited for the lock, shares the slot
    /// of a later one.
    pub(super) fn slot(&mut self, second: Second) -> &mut Latencies {
        let at = (second % self.0.len() as u64) as usize;
        let slot = &mut self.0[at];
        if slot.0 < second {
            *slot = (second, Latencies::default());
        }
        &mut slot.1
    }

    /// The sum of the last 60 seconds up to `last`.
    pub(super) fn sum(&self, last: Second) -> Latencies {
        let mut sum = Latencies::default();
        let kept = |second: Second| second <= last && second + SECONDS > last;
        for (_, latencies) in self.0.iter().filter(|(second, _)| kept(*second)) {
            sum.response.merge(&latencies.response);
            sum.first_token.merge(&latencies.first_token);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_is_remembered_and_no_longer() {
        let mut minute = LastMinute::default();
        for second in 3600..3800 {
            let latencies = minute.slot(second);
            latencies.response.add(Duration::from_secs(second));
            if second % 2 == 0 {
                latencies.first_token.add(Duration::from_millis(second));
            }
        }
        let sum = minute.sum(3798);
        assert_eq!((sum.response.count, sum.first_token.count), (60, 30));
        assert_eq!((sum.response.min(), sum.response.max()), (3739.0, 3798.0));
        assert_eq!(minute.sum(3798 + 59).response.count, 2, "the current second, too, has passed");
        assert_eq!(minute.sum(3798 + 61), Latencies::default());
    }
}

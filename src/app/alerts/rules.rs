//! When something is wrong: from what was measured and the thresholds to a reading of each matter.
//! Pure, and the only place that compares with a threshold.

use std::time::Duration;

use super::{Settings, machine::Reading};
use crate::types::AlertKind;

/// How far back errors and times are looked at.
pub const WINDOW_MINUTES: u64 = 5;

/// Crashes of one model in a row from which on it is a loop.
const CRASHES: u32 = 3;

/// What was measured at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signals {
    /// Requests of callers with a key that ended in the window.
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Of these requests, on average.
    pub(super) response_time: Duration,
    /// The backend's name, and why it cannot be used.
    pub(super) backend: Option<(&'static str, Result<(), String>)>,
    /// The model whose process has crashed most often in a row of late, and how often.
    pub(super) crashes: Option<(String, u32)>,
    /// Why the cache's store cannot be used; nothing while it can, or is not wanted.
    pub(super) cache: Option<String>,
    /// Bytes that are free on the data folder's disk.
    pub(super) disk_free: Option<u64>,
}

impl Signals {
    pub(super) fn reading(&self, kind: AlertKind, settings: &Settings) -> Reading {
        match kind {
            AlertKind::HighErrorRate => self.error_rate(settings),
            AlertKind::HighResponseTime => self.response_time(settings),
            AlertKind::BackendDown => match &self.backend {
                None => Reading::Unknown,
                Some((_, Ok(()))) => Reading::Fine,
                Some((name, Err(why))) => {
                    wrong(format!("The backend ({name}) cannot be used: {why}"), 0.0, 1.0)
                }
            },
            AlertKind::EngineCrashLoop => match &self.crashes {
                Some((model, crashes)) if *crashes >= CRASHES => wrong(
                    format!(
                        "The process of {model} has crashed {crashes} times in a row; the log has its last words."
                    ),
                    f64::from(*crashes),
                    f64::from(CRASHES),
                ),
                Some(_) | None => Reading::Fine,
            },
            AlertKind::CacheUnavailable => match &self.cache {
                None => Reading::Fine,
                Some(why) => wrong(format!("The cache's store cannot be used: {why}."), 0.0, 1.0),
            },
            AlertKind::DiskNearlyFull => self.disk(settings),
        }
    }

    fn error_rate(&self, settings: &Settings) -> Reading {
        if self.requests < settings.alert_min_requests {
            return Reading::Fine;
        }
        let Self { requests, errors, .. } = self;
        let (rate, threshold) = (*errors as f64 / *requests as f64, settings.alert_error_rate_threshold);
        judge(rate > threshold, rate, threshold, || {
            format!(
                "{:.1} % of the last {WINDOW_MINUTES} minutes' {requests} requests failed (threshold {:.1} %).",
                rate * 100.0,
                threshold * 100.0
            )
        })
    }

    fn response_time(&self, settings: &Settings) -> Reading {
        if self.requests < settings.alert_min_requests {
            return Reading::Fine;
        }
        let (average, threshold) = (self.response_time.as_secs_f64(), settings.alert_response_time_threshold);
        judge(average > threshold, average, threshold, || {
            format!(
                "The last {WINDOW_MINUTES} minutes' {} requests took {average:.2} s on average (threshold {threshold} s).",
                self.requests
            )
        })
    }

    fn disk(&self, settings: &Settings) -> Reading {
        let Some(free) = self.disk_free else { return Reading::Unknown };
        let (free, threshold) = (free as f64 / (1024.0 * 1024.0), settings.alert_disk_free_mb as f64);
        judge(free < threshold, free, threshold, || {
            format!("The data folder's disk has {free:.0} MB left (threshold {threshold} MB).")
        })
    }
}

fn judge(is_wrong: bool, value: f64, threshold: f64, message: impl FnOnce() -> String) -> Reading {
    if is_wrong { wrong(message(), value, threshold) } else { Reading::Fine }
}

fn wrong(message: String, value: f64, threshold: f64) -> Reading {
    Reading::Wrong { message, value, threshold }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: AlertKind, signals: &Signals, expected: Option<(f64, &str)>) {
        let reading = signals.reading(kind, &Settings::default());
        let got = match &reading {
            Reading::Wrong { value, message, .. } => Some((*value, message.as_str())),
            Reading::Fine | Reading::Unknown => None,
        };
        assert_eq!(got, expected, "{kind:?} of {signals:?}");
    }

    #[test]
    fn rates_count_from_enough_requests_on_and_above_the_threshold() {
        let requests = |requests, errors| Signals { requests, errors, ..Signals::default() };
        let rate = AlertKind::HighErrorRate;
        check(rate, &requests(0, 0), None);
        check(rate, &requests(9, 9), None);
        check(rate, &requests(10, 1), None);
        let message = "20.0 % of the last 5 minutes' 10 requests failed (threshold 10.0 %).";
        check(rate, &requests(10, 2), Some((0.2, message)));

        let times = |requests, ms| Signals {
            requests,
            response_time: Duration::from_millis(ms),
            ..Signals::default()
        };
        let time = AlertKind::HighResponseTime;
        check(time, &times(9, 60_000), None);
        check(time, &times(10, 5_000), None);
        let message = "The last 5 minutes' 10 requests took 5.25 s on average (threshold 5 s).";
        check(time, &times(10, 5_250), Some((5.25, message)));
    }

    #[test]
    fn each_other_matter_has_its_own_signal() {
        let down = Signals { backend: Some(("ollama", Err("Gone.".to_owned()))), ..Signals::default() };
        check(AlertKind::BackendDown, &down, Some((0.0, "The backend (ollama) cannot be used: Gone.")));
        check(
            AlertKind::BackendDown,
            &Signals { backend: Some(("ollama", Ok(()))), ..Signals::default() },
            None,
        );
        for (crashes, value) in [(2, None), (3, Some(3.0))] {
            let signals = Signals { crashes: Some(("m".to_owned(), crashes)), ..Signals::default() };
            let message = "The process of m has crashed 3 times in a row; the log has its last words.";
            check(AlertKind::EngineCrashLoop, &signals, value.map(|value| (value, message)));
        }
        let cache = Signals { cache: Some("Redis cannot be reached".to_owned()), ..Signals::default() };
        let message = "The cache's store cannot be used: Redis cannot be reached.";
        check(AlertKind::CacheUnavailable, &cache, Some((0.0, message)));
        check(AlertKind::CacheUnavailable, &Signals::default(), None);
        let disk =
            |megabytes: u64| Signals { disk_free: Some(megabytes * 1024 * 1024), ..Signals::default() };
        check(AlertKind::DiskNearlyFull, &disk(1024), None);
        let message = "The data folder's disk has 1000 MB left (threshold 1024 MB).";
        check(AlertKind::DiskNearlyFull, &disk(1000), Some((1000.0, message)));
    }

    #[test]
    fn what_could_not_be_measured_is_not_known() {
        let settings = Settings::default();
        for kind in [AlertKind::BackendDown, AlertKind::DiskNearlyFull] {
            assert_eq!(Signals::default().reading(kind, &settings), Reading::Unknown, "{kind:?}");
        }
    }
}

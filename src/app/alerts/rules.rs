//! When something is wrong: from what was measured and the thresholds to a reading of each matter.
//! Pure, and the only place that compares with a threshold.

use std::time::Duration;

use super::{
    Settings,
    state::{Figure, Measurement},
};
use crate::types::AlertKind;

/// How far back errors and times are looked at.
pub const WINDOW_MINUTES: u64 = 5;

/// Crashes of one model in a row that make a crash loop.
pub(in crate::app) const CRASH_LOOP_FROM: u32 = 3;

/// Signals measured at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signals {
    /// Requests to the API that ended in the window, without what unauthenticated callers were refused.
    pub(super) requests: u64,
    /// Those that the service, or what is behind it, has failed.
    pub(super) failures: u64,
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
    pub(super) fn measurement(&self, kind: AlertKind, settings: &Settings) -> Measurement {
        match kind {
            AlertKind::HighErrorRate => self.error_rate(settings),
            AlertKind::HighResponseTime => self.response_time(settings),
            AlertKind::BackendDown => match &self.backend {
                None => Measurement::Unknown,
                Some((name, state)) => {
                    let message = match state {
                        Ok(()) => format!("The backend ({name}) is available."),
                        Err(why) => format!("The backend ({name}) is unavailable: {why}"),
                    };
                    judge(state.is_err(), message, f64::from(u8::from(state.is_ok())), 1.0)
                }
            },
            AlertKind::EngineCrashLoop => self.crash_loop(),
            AlertKind::CacheUnavailable => {
                let message = match &self.cache {
                    None => "The cache is available.".to_owned(),
                    Some(why) => format!("The cache is unavailable: {why}."),
                };
                judge(self.cache.is_some(), message, f64::from(u8::from(self.cache.is_none())), 1.0)
            }
            AlertKind::DiskNearlyFull => self.disk(settings),
        }
    }

    fn error_rate(&self, settings: &Settings) -> Measurement {
        let Self { requests, failures, .. } = self;
        let (rate, threshold) =
            (*failures as f64 / (*requests).max(1) as f64, settings.alert_error_rate_threshold);
        let message = format!(
            "{:.1} % of {requests} requests in the last {WINDOW_MINUTES} minutes failed (threshold {:.1} %).",
            rate * 100.0,
            threshold * 100.0
        );
        judge(self.is_enough(settings) && rate > threshold, message, rate, threshold)
    }

    fn response_time(&self, settings: &Settings) -> Measurement {
        let (average, threshold) = (self.response_time.as_secs_f64(), settings.alert_response_time_threshold);
        let message = format!(
            "In the last {WINDOW_MINUTES} minutes, {} requests took {average:.2} s on average (threshold {threshold} s).",
            self.requests
        );
        judge(self.is_enough(settings) && average > threshold, message, average, threshold)
    }

    /// Whether there are requests enough to judge by.
    fn is_enough(&self, settings: &Settings) -> bool {
        self.requests >= settings.alert_min_requests
    }

    fn crash_loop(&self) -> Measurement {
        let (loops, message, crashes) = match &self.crashes {
            Some((model, crashes)) => {
                let message = format!(
                    "The process of {model} has crashed {crashes} times in a row; see the log for its last output."
                );
                (*crashes >= CRASH_LOOP_FROM, message, *crashes)
            }
            None => (false, "No model is crashing repeatedly.".to_owned(), 0),
        };
        judge(loops, message, f64::from(crashes), f64::from(CRASH_LOOP_FROM))
    }

    fn disk(&self, settings: &Settings) -> Measurement {
        let Some(free) = self.disk_free else { return Measurement::Unknown };
        let (free, threshold) = (free as f64 / (1024.0 * 1024.0), settings.alert_disk_free_mb as f64);
        let message = format!("The data directory's disk has {free:.0} MB free (threshold {threshold} MB).");
        judge(free < threshold, message, free, threshold)
    }
}

fn judge(is_wrong: bool, message: String, value: f64, threshold: f64) -> Measurement {
    let figure = Figure { message, value, threshold };
    if is_wrong { Measurement::Wrong(figure) } else { Measurement::Fine(figure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: AlertKind, signals: &Signals, expected: Option<(f64, &str)>) {
        let measurement = signals.measurement(kind, &Settings::default());
        let got = match &measurement {
            Measurement::Wrong(Figure { value, message, .. }) => Some((*value, message.as_str())),
            Measurement::Fine(_) | Measurement::Unknown => None,
        };
        assert_eq!(got, expected, "{kind:?} of {signals:?}");
    }

    #[test]
    fn rates_count_from_enough_requests_on_and_above_the_threshold() {
        let requests = |requests, failures| Signals { requests, failures, ..Signals::default() };
        let rate = AlertKind::HighErrorRate;
        check(rate, &requests(0, 0), None);
        check(rate, &requests(9, 9), None);
        check(rate, &requests(10, 1), None);
        let message = "20.0 % of 10 requests in the last 5 minutes failed (threshold 10.0 %).";
        check(rate, &requests(10, 2), Some((0.2, message)));

        let times = |requests, ms| Signals {
            requests,
            response_time: Duration::from_millis(ms),
            ..Signals::default()
        };
        let time = AlertKind::HighResponseTime;
        check(time, &times(9, 60_000), None);
        check(time, &times(10, 5_000), None);
        let message = "In the last 5 minutes, 10 requests took 5.25 s on average (threshold 5 s).";
        check(time, &times(10, 5_250), Some((5.25, message)));
    }

    #[test]
    fn each_other_matter_has_its_own_signal() {
        let down = Signals { backend: Some(("ollama", Err("Gone.".to_owned()))), ..Signals::default() };
        check(AlertKind::BackendDown, &down, Some((0.0, "The backend (ollama) is unavailable: Gone.")));
        check(
            AlertKind::BackendDown,
            &Signals { backend: Some(("ollama", Ok(()))), ..Signals::default() },
            None,
        );
        for (crashes, value) in [(2, None), (3, Some(3.0))] {
            let signals = Signals { crashes: Some(("m".to_owned(), crashes)), ..Signals::default() };
            let message = "The process of m has crashed 3 times in a row; see the log for its last output.";
            check(AlertKind::EngineCrashLoop, &signals, value.map(|value| (value, message)));
        }
        let cache = Signals { cache: Some("Redis cannot be reached".to_owned()), ..Signals::default() };
        let message = "The cache is unavailable: Redis cannot be reached.";
        check(AlertKind::CacheUnavailable, &cache, Some((0.0, message)));
        check(AlertKind::CacheUnavailable, &Signals::default(), None);
        let disk =
            |megabytes: u64| Signals { disk_free: Some(megabytes * 1024 * 1024), ..Signals::default() };
        check(AlertKind::DiskNearlyFull, &disk(1024), None);
        let message = "The data directory's disk has 1000 MB free (threshold 1024 MB).";
        check(AlertKind::DiskNearlyFull, &disk(1000), Some((1000.0, message)));
    }

    #[test]
    fn what_could_not_be_measured_is_not_known() {
        let settings = Settings::default();
        for kind in [AlertKind::BackendDown, AlertKind::DiskNearlyFull] {
            assert_eq!(Signals::default().measurement(kind, &settings), Measurement::Unknown, "{kind:?}");
        }
    }
}

//! Alerts: a task looks at the service at regular intervals, and makes an event of each change, which goes to
//! a webhook. `rules` says what is wrong, `state` when that becomes an alert and when it is over.

mod rules;
mod signals;
mod state;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::rules::CRASH_LOOP_FROM;
pub use self::rules::WINDOW_MINUTES;
use self::{
    rules::Signals,
    state::{AlertState, Now, Policy},
};
use super::{
    App,
    webhooks::{Delivery, Outbox, Pace, Receiver},
};
use crate::{
    error::Result,
    http_client::parse_endpoint,
    telemetry::metrics::Metrics,
    types::{Alert, AlertKind, Change, Event, Notification, Secret},
    value_parser::{fractional_seconds, number, seconds, whole, word},
    wire::webhook::Format,
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Alerts")]
#[group(skip)]
pub struct Settings {
    /// Error rate (0 to 1) above which an alert fires: the fraction of requests in 5 minutes that the server failed (status 500 and above)
    #[arg(long, env = "ALERT_ERROR_RATE_THRESHOLD", default_value = "0.1", value_parser = number(0.0..=1.0))]
    pub alert_error_rate_threshold: f64,
    /// Average response time over 5 minutes, in seconds, above which an alert fires
    #[arg(long, env = "ALERT_RESPONSE_TIME_THRESHOLD", default_value = "5.0", value_parser = fractional_seconds(0.001..=86_400.0))]
    pub alert_response_time_threshold: f64,
    /// Minimum number of requests in 5 minutes for alerts on error rate and response time
    #[arg(long, env = "ALERT_MIN_REQUESTS", default_value = "10", value_parser = whole(1..=1_000_000_u64))]
    pub alert_min_requests: u64,
    /// Free megabytes on the data directory's disk below which an alert fires
    #[arg(long, env = "ALERT_DISK_FREE_MB", default_value = "1024", value_parser = whole(0..=1_000_000_000_u64))]
    pub alert_disk_free_mb: u64,
    /// Seconds between checks of the alert conditions
    #[arg(long, env = "ALERT_INTERVAL_S", default_value = "10", value_parser = seconds(1..=300))]
    pub alert_interval_s: u64,
    /// Seconds that a condition must have been clear before its alert is resolved
    #[arg(long, env = "ALERT_HOLD_S", default_value = "120", value_parser = seconds(0..=86_400))]
    pub alert_hold_s: u64,
    /// URL of a webhook to send alerts to, such as an ntfy topic or a Slack incoming webhook
    #[arg(long, env = "ALERT_WEBHOOK_URL", value_name = "URL", hide_env_values = true, value_parser = webhook_url)]
    pub alert_webhook_url: Option<Secret>,
    /// Secret to sign alert messages with, so that the receiver can verify the sender
    #[arg(long, env = "ALERT_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true, value_parser = webhook_secret)]
    pub alert_webhook_secret: Option<Secret>,
    /// Format of alert messages: json, ntfy, slack or alertmanager
    #[arg(long, env = "ALERT_WEBHOOK_FORMAT", default_value = "json", value_parser = word(Format::WORDS))]
    pub alert_webhook_format: Format,
}

/// The addresses of many webhooks are all that protects them.
fn webhook_url(text: &str) -> Result<Secret, String> {
    parse_endpoint(text).map(Secret::new)
}

fn webhook_secret(text: &str) -> Result<Secret, String> {
    if text.len() >= 16 {
        Ok(Secret::new(text))
    } else {
        Err("must have at least 16 characters; openssl rand -hex 32 makes a good one".to_owned())
    }
}

/// State that survives a restart, so that what fires does not fire anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    firing: Vec<Alert>,
}

/// Firing alerts, thresholds, and the queue to the webhook.
pub struct Alerts {
    pub settings: Settings,
    data_dir: PathBuf,
    outbox: Arc<Outbox<Saved>>,
    states: Mutex<[AlertState; AlertKind::ALL.len()]>,
    delivery: Option<Delivery<Saved>>,
    metrics: Arc<Metrics>,
}

impl Alerts {
    /// Goes on with what was firing when the server was last stopped.
    ///
    /// # Errors
    /// `Setup` when the webhook's URL cannot be used.
    pub fn open(settings: Settings, data_dir: &Path, metrics: Arc<Metrics>) -> Result<Self> {
        Self::at_pace(settings, data_dir, metrics, Pace::default())
    }

    fn at_pace(settings: Settings, data_dir: &Path, metrics: Arc<Metrics>, pace: Pace) -> Result<Self> {
        let outbox = Arc::new(Outbox::<Saved>::open(data_dir.join("alerts.json")));
        let firing = outbox.kept().source.firing.clone();
        let state = |kind| {
            let firing = firing.iter().find(|alert| alert.kind == kind).cloned();
            metrics.alerts.set_firing(kind, firing.is_some());
            AlertState::new(kind, policy(kind, &settings), firing)
        };
        let states = Mutex::new(AlertKind::ALL.map(state));
        let receiver = settings.alert_webhook_url.as_ref().map(|url| {
            let secret = settings.alert_webhook_secret.clone();
            Receiver::new("The alert webhook", url, settings.alert_webhook_format, secret, pace.patience)
        });
        let delivery = receiver.transpose()?.map(|receiver| Delivery {
            outbox: Arc::clone(&outbox),
            receiver,
            pace,
            metrics: Arc::clone(&metrics.alerts.deliveries),
            added: Notify::new(),
        });
        Ok(Self { settings, data_dir: data_dir.to_owned(), outbox, states, delivery, metrics })
    }

    /// Returns the firing alerts, in the order of `AlertKind::ALL`.
    pub fn firing(&self) -> Vec<Alert> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().filter_map(AlertState::firing).cloned().collect()
    }

    /// Looks and delivers until `stop`.
    pub async fn run(&self, app: &App, stop: CancellationToken) {
        let deliver = async {
            if let Some(delivery) = &self.delivery {
                delivery.run(&stop).await;
            }
        };
        tokio::join!(stop.run_until_cancelled(self.watch(app)), deliver);
    }

    async fn watch(&self, app: &App) {
        // What happened before a restart goes on to count.
        app.monitoring.aggregator.recall(app.history.before(WINDOW_MINUTES).await);
        let started = Instant::now();
        let mut ticks = interval(Duration::from_secs(self.settings.alert_interval_s));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let signals = Signals::gather(app, &self.data_dir).await;
            let now = Now { running: started.elapsed(), wall: Timestamp::now() };
            let changes = self.look(&signals, now);
            if !changes.is_empty() {
                self.tell(changes).await;
            }
        }
    }

    fn look(&self, signals: &Signals, now: Now) -> Vec<Notification> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = AlertKind::ALL.into_iter().zip(states.iter_mut());
        kinds
            .filter_map(|(kind, state)| {
                let change = state.look(signals.measurement(kind, &self.settings), now)?;
                self.metrics.alerts.set_firing(kind, change.change == Change::Firing);
                Some(change)
            })
            .collect()
    }

    async fn tell(&self, changes: Vec<Notification>) {
        for Notification { alert, change, .. } in &changes {
            let kind = alert.kind.as_str();
            match change {
                Change::Firing => tracing::warn!(alert = kind, "alert firing: {}", alert.message),
                Change::Resolved => tracing::info!(alert = kind, "alert resolved: {}", alert.message),
            }
        }
        self.outbox.kept().source.firing = self.firing();
        if let Some(delivery) = &self.delivery {
            delivery.add(changes.into_iter().map(Event::from));
        }
        self.outbox.save().await;
    }
}

fn policy(kind: AlertKind, settings: &Settings) -> Policy {
    let looks = match kind {
        // These look back over minutes, or are past the first doubt already.
        AlertKind::HighErrorRate | AlertKind::HighResponseTime | AlertKind::EngineCrashLoop => 1,
        // A backend that is being restarted is no alert.
        AlertKind::BackendDown | AlertKind::CacheUnavailable | AlertKind::DiskNearlyFull => 3,
    };
    Policy { looks, hold: Duration::from_secs(settings.alert_hold_s) }
}

#[cfg(test)]
mod tests;

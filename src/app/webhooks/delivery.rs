//! Events on their way to the webhook: one after the other, in their order, each until the receiver
//! has taken it, has refused it, or an hour is over. Nothing waits for this task.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, QUEUE_LIMIT};
use crate::{
    error::Result,
    http_client::{Client, HeaderMap, HeaderName, HeaderValue, Request, Retry, Target, Timeouts},
    telemetry::metrics::DeliveryMetrics,
    types::{Event, Secret},
    value_parser::host_name,
    wire::webhook::{Format, Message},
};

/// Timeout for an attempt that is under way when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// How attempts follow each other.
#[derive(Clone, Copy, Debug)]
pub(in crate::app) struct Pace {
    /// A receiver has this long for each part of an answer.
    pub(in crate::app) patience: Duration,
    /// Before the second attempt; doubled before each later one.
    pub(in crate::app) first: Duration,
    pub(in crate::app) longest: Duration,
    /// After the first attempt.
    pub(in crate::app) give_up: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            give_up: Duration::from_secs(3600),
        }
    }
}

impl Pace {
    /// Between half of the pause and the whole of it, so that servers that failed together do not
    /// come back together. `chance` is from 0 to 1.
    fn pause(&self, attempts: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
        doubled.min(self.longest).mul_f64(f64::midpoint(1.0, chance))
    }
}

/// Receiver of events, and the form it takes them in.
pub(in crate::app) struct Receiver {
    pub(in crate::app) client: Client,
    pub(in crate::app) format: Format,
    pub(in crate::app) secret: Option<Secret>,
    pub(in crate::app) host: String,
}

impl Receiver {
    /// # Errors
    /// `Setup` when the URL cannot be used.
    pub(in crate::app) fn new(
        name: &'static str,
        url: &Secret,
        format: Format,
        secret: Option<Secret>,
        patience: Duration,
    ) -> Result<Self> {
        let timeouts = Timeouts { connect: patience, first_byte: patience, idle: patience };
        let client = Client::new(name, Target::Endpoint(url.expose().to_owned()), timeouts)?;
        Ok(Self { client, format, secret, host: host_name() })
    }

    async fn attempt(&self, event: &Event) -> Outcome {
        let mut message = Message::new(self.format, event, &self.host);
        if let Some(secret) = &self.secret {
            message.sign(secret, &event.id(), Timestamp::now());
        }
        let headers: HeaderMap = message
            .headers
            .iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
            })
            .collect();
        // A chat shows a message that comes twice twice, and `Delivery` says when one is sent again.
        let request = Request { headers, ..Request::post("", message.body, Retry::Never) };
        match self.client.send(request).await {
            Ok(response) => {
                let outcome = judge(response.status());
                response.finish();
                outcome
            }
            Err(error) => Outcome::Failed(error.chain()),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Taken,
    /// Asking again would not help.
    Refused(u16),
    Failed(String),
}

fn judge(status: u16) -> Outcome {
    match status {
        200..300 => Outcome::Taken,
        408 | 425 | 429 | 500.. => Outcome::Failed(format!("it responded with status {status}")),
        _ => Outcome::Refused(status),
    }
}

/// The queue of events, which the outbox keeps together with the state of their source.
pub(in crate::app) struct Delivery<S> {
    pub(in crate::app) outbox: Arc<Outbox<S>>,
    pub(in crate::app) receiver: Receiver,
    pub(in crate::app) pace: Pace,
    pub(in crate::app) metrics: Arc<DeliveryMetrics>,
    pub(in crate::app) added: Notify,
}

impl<S: Serialize + DeserializeOwned + Default> Delivery<S> {
    /// Adds to the end of the queue. Never waits.
    pub(in crate::app) fn add(&self, events: impl IntoIterator<Item = Event>) {
        let mut kept = self.outbox.kept();
        kept.waiting.extend(events);
        while kept.waiting.len() > QUEUE_LIMIT {
            kept.waiting.pop_front();
            self.metrics.dropped.fetch_add(1, Relaxed);
        }
        drop(kept);
        self.added.notify_one();
    }

    /// Delivers until `stop`. What is not delivered then is, after the next start.
    pub(in crate::app) async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let next = self.outbox.kept().waiting.front().cloned();
            match next {
                Some(event) => self.deliver(&event, stop).await,
                None => {
                    stop.run_until_cancelled(self.added.notified()).await;
                }
            }
        }
    }

    async fn deliver(&self, event: &Event, stop: &CancellationToken) {
        let (began, mut attempts) = (Instant::now(), 0);
        loop {
            attempts += 1;
            let (source, name, id) = (event.source(), event.name(), event.id());
            // An attempt that was cut short would have to be made again, and be one too many.
            let farewell = async {
                stop.cancelled().await;
                sleep(SHUTDOWN_TIMEOUT).await;
            };
            let outcome = tokio::select! {
                outcome = self.receiver.attempt(event) => outcome,
                () = farewell => return,
            };
            match outcome {
                Outcome::Taken => {
                    self.metrics.delivered.fetch_add(1, Relaxed);
                    break;
                }
                Outcome::Refused(status) => {
                    self.metrics.failed.fetch_add(1, Relaxed);
                    tracing::warn!(event = name, id, status, "the {source} webhook refused a message");
                    break;
                }
                Outcome::Failed(cause) if began.elapsed() >= self.pace.give_up => {
                    self.metrics.failed.fetch_add(1, Relaxed);
                    tracing::warn!(
                        event = name,
                        id,
                        attempts,
                        "an {source} message could not be delivered: {cause}"
                    );
                    break;
                }
                Outcome::Failed(cause) => {
                    // Once, and not for each of many attempts.
                    if attempts == 1 {
                        tracing::warn!(
                            event = name,
                            id,
                            "an {source} message is not delivered yet and will be sent again: {cause}"
                        );
                    }
                    let pause = sleep(self.pace.pause(attempts, chance()));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                }
            }
        }
        self.done(event);
        self.outbox.save().await;
    }

    fn done(&self, event: &Event) {
        let mut kept = self.outbox.kept();
        // It may have had to make room meanwhile.
        if kept.waiting.front() == Some(event) {
            kept.waiting.pop_front();
        }
    }
}

/// From 0 to 1. Without random numbers the pauses are still pauses.
fn chance() -> f64 {
    let mut byte = [0u8];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

//! Sends spans to the collector in batches, off every request's path.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    http_client::{Client, HeaderMap, Request, Retry},
    telemetry::metrics::TraceMetrics,
    wire::otlp::{Attribute, Span, export},
};

/// Spans of one export.
const BATCH: usize = 512;
/// Longest wait of a span for others of its batch.
const BATCH_WINDOW: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;
/// Timeout for sending the remaining spans at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Exporter {
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
    pub(super) resource: Vec<Attribute>,
    pub(super) spans: Receiver<Span>,
    pub(super) metrics: Arc<TraceMetrics>,
    /// Before the second attempt; doubled before each later one.
    pub(super) pause: Duration,
}

impl Exporter {
    /// Exports until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut is_well, mut spans) = (true, Vec::with_capacity(BATCH));
        let mut grace = SHUTDOWN_TIMEOUT;
        while !stop.is_cancelled() {
            tokio::select! {
                () = fill(&mut self.spans, &mut spans) => {}
                () = stop.cancelled() => break,
            }
            let late = async {
                stop.cancelled().await;
                sleep(SHUTDOWN_TIMEOUT).await;
            };
            tokio::select! {
                () = self.send(&spans, &mut is_well) => {}
                () = late => {
                    self.metrics.failed.fetch_add(spans.len() as u64, Relaxed);
                    grace = Duration::ZERO;
                }
            }
            spans.clear();
        }
        self.finish(spans, is_well, Instant::now() + grace).await;
    }

    /// Sends what is left, until the deadline.
    async fn finish(mut self, mut rest: Vec<Span>, mut is_well: bool, deadline: Instant) {
        self.spans.close();
        while let Ok(span) = self.spans.try_recv() {
            rest.push(span);
        }
        for batch in rest.chunks(BATCH) {
            if timeout_at(deadline, self.send(batch, &mut is_well)).await.is_err() {
                self.metrics.failed.fetch_add(batch.len() as u64, Relaxed);
            }
        }
    }

    /// Sends one batch, again and again when the collector may take it later.
    async fn send(&self, spans: &[Span], is_well: &mut bool) {
        let body = export(&self.resource, spans);
        let mut pause = self.pause;
        for attempt in 1..=ATTEMPTS {
            // A collector knows a span that comes twice by its id.
            let request = Request::post("/v1/traces", body.clone(), Retry::Idempotent);
            let sent = self.client.send(Request { headers: self.headers.clone(), ..request });
            let cause = match sent.await {
                Ok(response) if response.is_success() => {
                    response.finish();
                    self.metrics.exported.fetch_add(spans.len() as u64, Relaxed);
                    if !std::mem::replace(is_well, true) {
                        tracing::info!("the OpenTelemetry collector accepts traces again");
                    }
                    return;
                }
                Ok(response) => {
                    let (status, through_proxy) = (response.status(), response.through_proxy());
                    response.finish();
                    // The specification names these: all others will not change.
                    let later = matches!(status, 429 | 502 | 503 | 504);
                    (later, format!("it responded{through_proxy} with status {status}"))
                }
                Err(error) => (true, error.chain()),
            };
            // Once, and not for each of many batches.
            if std::mem::replace(is_well, false) {
                tracing::warn!("the OpenTelemetry collector does not accept traces: {}", cause.1);
            }
            if !cause.0 || attempt == ATTEMPTS {
                break;
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.metrics.failed.fetch_add(spans.len() as u64, Relaxed);
    }
}

/// Adds what comes until a batch is full or the first of it has waited long enough. What has been added
/// stays when this is given up.
async fn fill(spans: &mut Receiver<Span>, batch: &mut Vec<Span>) {
    if spans.recv_many(batch, BATCH).await == 0 {
        // Every sender is gone.
        return std::future::pending().await;
    }
    let until = Instant::now() + BATCH_WINDOW;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(until, spans.recv_many(batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
}

//! Recorder of a request. Each part of the pipeline sets the fields that it knows on a shared
//! `RequestRecorder`, without a lock; when the reply's last byte has been passed on, or the client has
//! left, it becomes one plain value, `RequestRecord`, that every sink gets once. It knows no HTTP.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    labels::{CLIENT_CLOSED, CLIENT_CLOSED_STATUS, RouteLabel, error_type},
    record::{Failure, RequestRecord},
    sink::Sinks,
};
use crate::{
    error::{Error, Kind},
    request_context::{Context, scope_sync},
    types::{CacheStatus, KeyId, Usage},
};

/// Facts about a request known when it arrives.
#[derive(Clone, Debug)]
pub struct RequestStart {
    /// Its id, and its place in a trace.
    pub context: Arc<Context>,
    /// From `labels::method`.
    pub method: &'static str,
    /// `labels::UNMATCHED` for none.
    pub endpoint: RouteLabel,
    /// As it was sent, without the query.
    pub path: String,
}

#[cfg(test)]
impl RequestStart {
    /// For tests to which it does not matter what arrives.
    pub(super) fn any() -> Self {
        Self {
            context: Arc::new(Context::new(None, None, None)),
            method: "GET",
            endpoint: RouteLabel { template: "/models", purpose: super::labels::Purpose::Api },
            path: "/models".to_owned(),
        }
    }
}

/// Recorder of a request that is being handled. Dropping the last reference ends it, so it is
/// held by the request and its reply and by nothing that may outlive them.
pub struct RequestRecorder {
    start: RequestStart,
    started: Instant,
    sinks: Sinks,
    key: OnceLock<KeyId>,
    model: OnceLock<Arc<str>>,
    backend: OnceLock<&'static str>,
    cache: OnceLock<CacheStatus>,
    queue: OnceLock<Duration>,
    first_token: OnceLock<Duration>,
    usage: OnceLock<Usage>,
    error: OnceLock<Failure>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// 0 until the reply is complete.
    status: AtomicU16,
    /// Set for a reply without an end.
    measured: OnceLock<Duration>,
}

impl RequestRecorder {
    pub fn begin(sinks: Sinks, start: RequestStart) -> Arc<Self> {
        sinks.request_began(start.endpoint.purpose);
        Arc::new(Self {
            start,
            started: Instant::now(),
            sinks,
            key: OnceLock::new(),
            model: OnceLock::new(),
            backend: OnceLock::new(),
            cache: OnceLock::new(),
            queue: OnceLock::new(),
            first_token: OnceLock::new(),
            usage: OnceLock::new(),
            error: OnceLock::new(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            status: AtomicU16::new(0),
            measured: OnceLock::new(),
        })
    }

    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.start.context)
    }

    pub fn request_id(&self) -> &str {
        &self.start.context.request_id
    }

    pub fn method(&self) -> &'static str {
        self.start.method
    }

    pub fn endpoint(&self) -> &'static str {
        self.start.endpoint.template
    }

    /// Since the request's head.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    // Each field is set once; later values are ignored.

    pub fn key(&self, key: KeyId) {
        let _ = self.key.set(key);
    }

    /// One that the backend lists: it may become a label.
    pub fn model(&self, model: Arc<str>) {
        let _ = self.model.set(model);
    }

    pub fn backend(&self, name: &'static str) {
        let _ = self.backend.set(name);
    }

    pub fn cache(&self, status: CacheStatus) {
        let _ = self.cache.set(status);
    }

    pub fn queue(&self, waited: Duration) {
        let _ = self.queue.set(waited);
    }

    /// The first event of the answer is there.
    pub fn first_token(&self) {
        // Of many events only the first looks at the clock.
        self.first_token.get_or_init(|| self.started.elapsed());
    }

    pub fn usage(&self, usage: Usage) {
        let _ = self.usage.set(usage);
    }

    pub fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    /// The reply has been passed on whole.
    pub fn complete(&self, status: u16) {
        self.status.store(status, Relaxed);
    }

    /// The reply goes on until the client has seen enough: it is complete as soon as it begins, and
    /// its duration is that to its beginning.
    pub fn endless(&self) {
        let _ = self.measured.set(self.started.elapsed());
        self.complete(200);
    }

    /// Notes and logs a failure. This is the boundary: causes are logged here and nowhere else.
    pub fn failed(&self, error: &Error) {
        let failure = Failure { kind: error_type(error.kind()), message: error.summary() };
        if self.error.set(failure).is_err() {
            return;
        }
        let endpoint = self.endpoint();
        scope_sync(Arc::clone(&self.start.context), || match error.kind() {
            Kind::Internal => tracing::error!(endpoint, "request failed: {}", error.chain()),
            Kind::BadGateway | Kind::Unavailable | Kind::GatewayTimeout | Kind::Setup => {
                tracing::warn!(endpoint, "request failed: {}", error.chain());
            }
            // Its causes may hold the caller's words.
            _ => tracing::debug!(endpoint, "request refused: {}", error.summary()),
        });
    }

    fn record(&mut self) -> RequestRecord {
        let (status, error) = match *self.status.get_mut() {
            0 => {
                let message = "The client disconnected before the response was complete.".to_owned();
                (CLIENT_CLOSED_STATUS, Some(Failure { kind: CLIENT_CLOSED, message }))
            }
            status => (status, self.error.take()),
        };
        let ended = Instant::now();
        RequestRecord {
            context: Arc::clone(&self.start.context),
            method: self.start.method,
            endpoint: self.start.endpoint.template,
            purpose: self.start.endpoint.purpose,
            path: std::mem::take(&mut self.start.path),
            status,
            key: self.key.take(),
            model: self.model.take(),
            backend: self.backend.take(),
            cache: self.cache.take(),
            queue: self.queue.take(),
            first_token: self.first_token.take(),
            duration: self.measured.take().unwrap_or(ended - self.started),
            usage: self.usage.take(),
            bytes_in: *self.bytes_in.get_mut(),
            bytes_out: *self.bytes_out.get_mut(),
            error,
            ended_at: SystemTime::now(),
            ended,
        }
    }
}

impl Drop for RequestRecorder {
    fn drop(&mut self) {
        let record = self.record();
        self.sinks.request_ended(&record);
    }
}

impl fmt::Debug for RequestRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestRecorder").field("start", &self.start).finish_non_exhaustive()
    }
}

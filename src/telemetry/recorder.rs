//! Recorder of a request. Each part of the pipeline sets the facts that it knows on a shared
//! `RequestRecorder`; when the reply's last byte has been passed on, or the client has
//! left, it becomes one plain value, `RequestRecord`, that every sink gets once. It knows no HTTP.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    labels::{CLIENT_CLOSED, CLIENT_CLOSED_STATUS, RouteLabel, error_type},
    record::{Failure, RequestFacts, RequestRecord},
    sink::Sinks,
};
use crate::{
    error::{Error, Kind},
    request_context::{Context, scope_sync},
    types::{CacheStatus, KeyId, Usage},
};

/// A request as it arrives.
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
    facts: Mutex<RequestFacts>,
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
            facts: Mutex::default(),
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

    /// Changes the facts. Only the tasks of one request share them, so that the lock is nearly always free.
    pub fn set<T>(&self, change: impl FnOnce(&mut RequestFacts) -> T) -> T {
        change(&mut self.facts())
    }

    fn facts(&self) -> MutexGuard<'_, RequestFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Each of these is set once; later values are ignored.

    pub fn key(&self, key: KeyId) {
        self.facts().key.get_or_insert(key);
    }

    /// One that the backend lists: it may become a label.
    pub fn model(&self, model: Arc<str>) {
        self.facts().model.get_or_insert(model);
    }

    pub fn backend(&self, name: &'static str) {
        self.facts().backend.get_or_insert(name);
    }

    pub fn cache(&self, status: CacheStatus) {
        self.facts().cache.get_or_insert(status);
    }

    pub fn queue(&self, waited: Duration) {
        self.facts().queue.get_or_insert(waited);
    }

    /// The first event of the answer is there.
    pub fn first_token(&self) {
        // Of many events only the first looks at the clock.
        self.facts().first_token.get_or_insert_with(|| self.started.elapsed());
    }

    /// Adds the tokens of a call of a model; one request may need several.
    pub fn usage(&self, usage: Usage) {
        *self.facts().usage.get_or_insert_default() += usage;
    }

    pub fn received(&self, bytes: usize) {
        self.facts().bytes_in += bytes as u64;
    }

    pub fn sent(&self, bytes: usize) {
        self.facts().bytes_out += bytes as u64;
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
        let is_first = self.set(|facts| facts.error.is_none() && facts.error.replace(failure).is_none());
        if !is_first {
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
        let mut facts = mem::take(&mut *self.facts());
        let mut status = *self.status.get_mut();
        if status == 0 {
            let message = "The client left before the reply was complete.".to_owned();
            facts.error = Some(Failure { kind: CLIENT_CLOSED, message });
            status = CLIENT_CLOSED_STATUS;
        }
        let ended = Instant::now();
        RequestRecord {
            context: Arc::clone(&self.start.context),
            method: self.start.method,
            endpoint: self.start.endpoint.template,
            purpose: self.start.endpoint.purpose,
            path: mem::take(&mut self.start.path),
            status,
            duration: self.measured.take().unwrap_or(ended - self.started),
            ended_at: SystemTime::now(),
            ended,
            facts,
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

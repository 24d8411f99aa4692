//! State of one model in one role: its users, its child, and its crashes in a row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Role,
    fit::Fit,
    queue::Queue,
    starts::{Starts, Suspicion},
};
use crate::{
    error::{Error, Kind},
    http_client::Client,
    model_store::Entry,
    types::KeepAlive,
};

/// Running time after which a child no longer counts as crashing in a row.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// Time after its last crash for which a model counts as crashing in a loop.
const CRASH_WINDOW: Duration = Duration::from_secs(300);
/// Number of deaths in a row that are blamed on requests, not on the model.
const EXCUSED_LIMIT: u32 = 3;
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Key of a child: requests with the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    weights: String,
    projector: Option<String>,
    chat_template: Option<&'static str>,
    role: Role,
}

impl Key {
    pub(super) fn new(entry: &Entry, role: Role) -> Self {
        Self {
            weights: entry.weights_digest.clone(),
            projector: entry.projector_digest.clone(),
            chat_template: entry.chat_template,
            role,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }
}

pub(super) struct ModelSlot {
    pub(super) queue: Arc<Queue>,
    /// Leases, and callers waiting for one. A child with users is never unloaded.
    pub(super) users: usize,
    /// Users with a request in progress.
    pub(super) leases: usize,
    /// Set by the latest request.
    pub(super) keep_alive: KeepAlive,
    /// Number of times that unloading was requested.
    pub(super) unloads: u64,
    pub(super) last_used: Instant,
    pub(super) crashes: Crashes,
    /// Number of deaths in a row of which a request is suspected.
    pub(super) suspected: u32,
    /// Held by one retried request at a time, until it has turned out to be harmless.
    pub(super) probation: Arc<tokio::sync::Mutex<()>>,
    pub(super) life: Option<Life>,
}

impl ModelSlot {
    pub(super) fn new(queue: Queue, keep_alive: KeepAlive) -> Self {
        Self {
            queue: Arc::new(queue),
            users: 0,
            leases: 0,
            keep_alive,
            unloads: 0,
            last_used: Instant::now(),
            crashes: Crashes::default(),
            suspected: 0,
            probation: Arc::default(),
            life: None,
        }
    }

    /// Whether its child may be unloaded to make room: it has no users, or is draining and its last user has
    /// left.
    pub(super) fn can_go(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            let takes_none = life.is_outdated || life.is_draining();
            let is_free = self.users == 0 || takes_none && self.leases == 0;
            is_free && life.is_admitted_and_running()
        })
    }

    /// Whether a death is blamed on a request and not on the model: one or several are suspected, and it is not
    /// one of many in a row without an answer between them.
    pub(super) fn excuses(&mut self, suspect: Option<Suspicion>, has_answered: bool) -> bool {
        if has_answered {
            self.suspected = 0;
        }
        self.suspected += u32::from(suspect.is_some());
        suspect.is_some() && self.suspected <= EXCUSED_LIMIT
    }

    /// When an idle child is unloaded; `None` while it is used, or is to stay loaded.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let life = self.life.as_ref().filter(|life| !life.stop.is_cancelled() && self.users == 0)?;
        match (self.keep_alive, &*life.state.borrow()) {
            (KeepAlive::For(time), ChildState::Running(_)) => self.last_used.checked_add(time),
            _ => None,
        }
    }
}

/// A child, from the decision to start it to its end.
pub(super) struct Life {
    /// Model name of the first request.
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) fit: Fit,
    /// Whether its memory is reserved in the budget.
    pub(super) admitted: bool,
    /// Whether another context was requested: it takes no more requests, and is stopped after the last one.
    pub(super) is_outdated: bool,
    /// Draining until then, because another model has waited long enough for room.
    pub(super) draining_until: Option<Instant>,
    pub(super) stop: CancellationToken,
    pub(super) state: watch::Receiver<ChildState>,
}

impl Life {
    pub(super) fn is_admitted_and_running(&self) -> bool {
        self.admitted && matches!(*self.state.borrow(), ChildState::Running(_))
    }

    /// `None` when it is not running.
    pub(super) fn since(&self) -> Option<Timestamp> {
        match &*self.state.borrow() {
            ChildState::Running(running) => Some(running.since),
            ChildState::Starting | ChildState::Ended(_) => None,
        }
    }

    pub(super) fn is_held_up(&self) -> bool {
        matches!(&*self.state.borrow(), ChildState::Running(running) if running.is_held_up.load(Relaxed))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining_until.is_some_and(|until| Instant::now() < until)
    }
}

#[derive(Clone)]
pub(super) enum ChildState {
    Starting,
    Running(Running),
    /// Without a failure it was stopped.
    Ended(Option<Failure>),
}

#[derive(Clone)]
pub(super) struct Running {
    pub(super) client: Client,
    /// Tokens of one slot.
    pub(super) context: u32,
    pub(super) pid: Option<u32>,
    pub(super) since: Timestamp,
    pub(super) starts: Arc<Starts>,
    /// Its loop is blocked by a request.
    pub(super) is_held_up: Arc<AtomicBool>,
}

/// Why a child did not start, or died, for all waiting callers.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
    /// Exit status, for the log.
    detail: String,
    retry_after: Option<Duration>,
    /// Request that is probably at fault, and the error for its caller.
    suspect: Option<Box<Suspicion>>,
    message_to_suspect: Option<Box<str>>,
    /// Last lines of the child, for the log.
    pub(super) last_lines: Vec<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: detail.into(),
            retry_after: None,
            suspect: None,
            message_to_suspect: None,
            last_lines: Vec::new(),
        }
    }

    pub(super) fn telling_suspect(mut self, message: impl Into<Box<str>>) -> Self {
        self.message_to_suspect = Some(message.into());
        self
    }

    pub(super) fn suspecting(mut self, suspect: Option<Suspicion>) -> Self {
        self.suspect = suspect.map(Box::new);
        self
    }

    pub(super) fn suspect(&self) -> Option<Suspicion> {
        self.suspect.as_deref().copied()
    }

    pub(super) fn with_last_lines(mut self, lines: Vec<String>) -> Self {
        self.last_lines = lines;
        self
    }

    /// Message for the request that is probably at fault.
    pub(super) fn into_error_of_suspect(mut self) -> Error {
        if let Some(message) = self.message_to_suspect.take() {
            self.message = message.into();
        }
        self.into_error()
    }

    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(super) fn into_error(self) -> Error {
        let mut error = Error::new(self.kind, self.message);
        if let Some(after) = self.retry_after {
            error = error.retry_after(after);
        }
        if self.detail.is_empty() { error } else { error.with_source(self.detail) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let detail = std::error::Error::source(&error).map(ToString::to_string);
        Self::new(error.kind(), error.message(), detail.unwrap_or_default())
    }
}

/// Exponential backoff: the first crash causes no delay, since a single request may have caused it.
#[derive(Default)]
pub(super) struct Crashes {
    count: u32,
    last: Option<(Instant, Failure)>,
    /// Name of the model.
    name: String,
}

impl Crashes {
    /// `ran` is the child's running time, zero when it did not start.
    pub(super) fn record(&mut self, name: &str, failure: Failure, ran: Duration) {
        name.clone_into(&mut self.name);
        self.count = if ran >= STABLE_AFTER { 1 } else { self.count.saturating_add(1) };
        self.last = Some((Instant::now(), failure));
    }

    /// Model, and number of crashes in a row; none when the last one is long past.
    pub(super) fn of_late(&self) -> Option<(String, u32)> {
        let (at, _) = self.last.as_ref()?;
        (at.elapsed() < CRASH_WINDOW).then(|| (self.name.clone(), self.count))
    }

    /// Error for a request during the backoff.
    pub(super) fn refusal(&self) -> Option<Error> {
        let (at, failure) = self.last.as_ref()?;
        let left = self.pause().checked_sub(at.elapsed()).filter(|left| !left.is_zero())?;
        // Rounded up, or a caller that waits this long would come back a moment too early.
        let left = Duration::from_secs(left.as_secs() + 1);
        let message = format!("{} The next attempt is in {} s.", failure.message, left.as_secs());
        Some(Error::new(Kind::Unavailable, message).retry_after(left))
    }

    /// 0, 1, 2, 4 … 30 seconds.
    fn pause(&self) -> Duration {
        match self.count.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1 << doublings.min(5)).min(LONGEST_BACKOFF),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_at_fault_for_some_deaths_in_a_row_and_not_for_all() {
        let suspect = Some(Suspicion::Several);
        let keep_alive = KeepAlive::Forever;
        let mut model_slot = ModelSlot::new(Queue::new(1, 1), keep_alive);
        let excused: Vec<bool> = (0..5).map(|_| model_slot.excuses(suspect, false)).collect();
        assert_eq!(excused, [true, true, true, false, false]);
        assert!(model_slot.excuses(suspect, true), "it has answered one");
        assert!(!model_slot.excuses(None, true), "nobody asked anything of it");
    }

    #[test]
    fn repeated_crashes_wait_longer_and_a_stable_run_forgives() {
        let failure = || Failure::new(Kind::BadGateway, "It ended unexpectedly.", "");
        let mut crashes = Crashes::default();
        assert!(crashes.refusal().is_none());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            crashes.record("m", failure(), Duration::from_secs(1));
            pauses.push(crashes.pause().as_secs());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        let refusal = crashes.refusal().expect("still in its pause");
        assert_eq!(refusal.kind(), Kind::Unavailable);
        assert!(refusal.retry_after_hint().is_some_and(|after| after >= Duration::from_secs(29)));

        crashes.record("m", failure(), STABLE_AFTER);
        assert!(crashes.refusal().is_none());
    }
}

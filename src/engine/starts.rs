//! Running requests of a child, in the order of their start: when the child is in trouble, the one that was new
//! at that time is the suspect.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::refusals::Fingerprint;

/// Time for which a request whose caller has left still counts: the child's own threads prepare it first, and
/// notice the disconnect only after a second or more.
const SUSPECT_AFTER_END: Duration = Duration::from_secs(10);
/// Time between a request's start and the trouble that it causes: a second for the child's own threads to
/// prepare it, and the interval of the watchdog.
const PREPARATION_TIME: Duration = Duration::from_millis(1200);

/// Requests of one child.
#[derive(Default)]
pub(super) struct Starts {
    list: Mutex<List>,
    begun: Notify,
    has_answered: AtomicBool,
}

#[derive(Default)]
struct List {
    next: u64,
    starts: Vec<Start>,
}

struct Start {
    id: u64,
    at: Instant,
    request: Fingerprint,
    /// Second attempt: the previous child died with this request.
    is_renewed: bool,
    has_said: bool,
    left: Option<Instant>,
}

/// Request that is probably at fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Suspicion {
    One(Suspect),
    /// One of several: each is retried by itself to identify it.
    Several,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Suspect {
    pub(super) id: u64,
    pub(super) request: Fingerprint,
}

impl Starts {
    pub(super) fn begin(self: &Arc<Self>, request: Fingerprint, is_renewed: bool) -> Begun {
        self.begin_at(request, is_renewed, Instant::now())
    }

    fn begin_at(self: &Arc<Self>, request: Fingerprint, is_renewed: bool, now: Instant) -> Begun {
        let mut list = self.list();
        list.starts.retain(|start| start.is_there(now));
        let id = list.next;
        list.next += 1;
        list.starts.push(Start { id, at: now, request, is_renewed, has_said: false, left: None });
        drop(list);
        self.begun.notify_one();
        Begun { starts: Arc::clone(self), id }
    }

    /// Completes when a request starts, or if one has started since the last call.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Whether the child has completed a request.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Relaxed)
    }

    /// Returns the suspect for trouble seen at that time: the one request that had just started and of which
    /// nothing has been answered, as most trouble comes before the first token; otherwise the latest.
    pub(super) fn suspect(&self, seen: Instant) -> Option<Suspicion> {
        let list = self.list();
        let there: Vec<&Start> =
            list.starts.iter().filter(|start| start.at <= seen && start.is_there(seen)).collect();
        let is_new = |start: &&&Start| !start.has_said && seen - start.at < PREPARATION_TIME;
        let new: Vec<&&Start> = there.iter().filter(is_new).collect();
        let suspect = match new[..] {
            [one] => Some(one),
            [] => there.iter().max_by_key(|start| (!start.has_said, start.at)),
            _ => new.iter().rfind(|start| start.is_renewed).copied(),
        };
        match suspect {
            Some(Start { id, request, .. }) => Some(Suspicion::One(Suspect { id: *id, request: *request })),
            None => (!list.starts.is_empty()).then_some(Suspicion::Several),
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Start)) {
        if let Some(start) = self.list().starts.iter_mut().find(|start| start.id == id) {
            change(start);
        }
    }
}

impl Start {
    fn is_there(&self, now: Instant) -> bool {
        self.left.is_none_or(|left| now.saturating_duration_since(left) < SUSPECT_AFTER_END)
    }
}

/// One request of a child. Dropping it notes that its caller has left.
pub(super) struct Begun {
    starts: Arc<Starts>,
    id: u64,
}

impl Begun {
    pub(super) fn is(&self, suspect: Suspect) -> bool {
        self.id == suspect.id
    }

    /// Notes that the beginning of the answer has arrived.
    pub(super) fn said(&self) {
        self.starts.change(self.id, |start| start.has_said = true);
    }

    /// Notes that the answer is complete: the request is no longer a suspect.
    pub(super) fn finished(&self) {
        self.starts.has_answered.store(true, Relaxed);
        self.starts.list().starts.retain(|start| start.id != self.id);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.starts.change(self.id, |start| start.left = Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(starts: &Starts, seen: Instant) -> Option<u8> {
        match starts.suspect(seen)? {
            Suspicion::One(suspect) => Some(suspect.request[0]),
            Suspicion::Several => Some(0),
        }
    }

    #[test]
    fn the_new_request_of_which_nothing_was_said_is_the_suspect() {
        let (starts, now) = (Arc::new(Starts::default()), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(suspect(&starts, now), None);
        let old = starts.begin_at([1; 32], false, at(0));
        let new = starts.begin_at([2; 32], false, at(2000));
        let later = starts.begin_at([3; 32], false, at(3000));
        assert_eq!(suspect(&starts, at(2500)), Some(2));
        assert_eq!(suspect(&starts, at(3100)), Some(0), "both are new");
        later.said();
        assert_eq!(suspect(&starts, at(3100)), Some(2));
        assert_eq!(suspect(&starts, at(9000)), Some(2), "of those who wait the latest");
        new.finished();
        assert_eq!(suspect(&starts, at(9000)), Some(1));
        old.said();
        assert_eq!(suspect(&starts, at(9000)), Some(3), "when all have said something, the latest");
        assert!(starts.has_answered());
    }

    #[test]
    fn the_one_that_is_asked_again_is_suspected_first() {
        let (starts, now) = (Arc::new(Starts::default()), Instant::now());
        let _renewed = starts.begin_at([1; 32], true, now);
        let _new = starts.begin_at([2; 32], false, now);
        assert_eq!(suspect(&starts, now), Some(1));
    }

    #[test]
    fn a_request_whose_caller_left_is_suspect_for_a_while() {
        let (starts, now) = (Arc::new(Starts::default()), Instant::now());
        let waiting = starts.begin_at([1; 32], false, now);
        waiting.said();
        drop(starts.begin_at([2; 32], false, now));
        assert_eq!(suspect(&starts, Instant::now()), Some(2));
        let later = Instant::now() + SUSPECT_AFTER_END;
        assert_eq!(suspect(&starts, later), Some(1));
        drop(starts.begin_at([3; 32], false, later));
        assert_eq!(starts.list().starts.len(), 2, "those who left long ago are forgotten");
    }
}

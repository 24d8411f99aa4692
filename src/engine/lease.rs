//! Exclusive use of one slot of a child: no lease, no request. Its resources are released when it is dropped,
//! so it lives in the reply's stream.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{
    life::{Standing, lease_or_start},
    model_slot::{ChildState, Running},
    refusals::Fingerprint,
    starts::{Begun, Suspicion},
    state::shutting_down,
    use_guard::UseGuard,
};
use crate::{
    error::{Error, Result},
    http_client::Client,
    model_store::Entry,
};

/// Timeout for learning that a child has ended, after its connection broke.
const POST_MORTEM_TIMEOUT: Duration = Duration::from_secs(1);

/// One slot of a loaded model.
pub struct Lease {
    running: Running,
    begun: Option<Begun>,
    on_probation: Mutex<Option<OwnedMutexGuard<()>>>,
    is_renewed: bool,
    load: Duration,
    state: watch::Receiver<ChildState>,
    // Declared last: the child is released before the slot is.
    hold: Hold,
}

/// A slot of a model whose child may still have to be started.
pub(super) struct Hold {
    pub(super) entry: Arc<Entry>,
    pub(super) waited: Duration,
    // In this order: the slot is released before the model counts as idle.
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) use_guard: UseGuard,
}

/// Cause of death of a child during a request.
#[derive(Debug)]
pub struct Death {
    pub error: Error,
    /// Another request is the suspect, or there are several, so that this one may be retried.
    pub is_anothers_fault: bool,
}

impl Hold {
    /// Waits until the child is ready, and starts it if there is none.
    pub(super) async fn lease(mut self) -> Result<Lease> {
        let asked = Instant::now();
        let mut load = Duration::ZERO;
        loop {
            let (mut state, standing) =
                lease_or_start(&self.use_guard.shared, &self.use_guard.key, &self.entry)?;
            match standing {
                Standing::Leased(running) => {
                    self.use_guard.lease();
                    let on_probation = Mutex::default();
                    return Ok(Lease {
                        running,
                        begun: None,
                        on_probation,
                        is_renewed: false,
                        load,
                        state,
                        hold: self,
                    });
                }
                Standing::Starting => {
                    let started = state.wait_for(|state| !matches!(state, ChildState::Starting)).await;
                    if let ChildState::Ended(Some(failure)) = &*started.map_err(|_| shutting_down())? {
                        return Err(failure.clone().into_error());
                    }
                }
                // The next round starts it again, or finds that no caller waits for its room.
                Standing::Going(until) => {
                    let ended = state.wait_for(|state| matches!(state, ChildState::Ended(_)));
                    match until {
                        Some(until) => drop(timeout_at(until, ended).await),
                        None => drop(ended.await),
                    }
                }
            }
            load = asked.elapsed();
        }
    }
}

impl Lease {
    /// Whether this is the request's second attempt.
    pub fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    /// Notes that a request is being sent to the child.
    pub fn begin(&mut self, request: Fingerprint) {
        self.begun = Some(self.running.starts.begin(request, self.is_renewed));
    }

    /// Notes that the beginning of the answer has arrived.
    pub fn said(&self) {
        self.begun.iter().for_each(Begun::said);
        // The next retried request may begin.
        drop(self.on_probation.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Notes that the answer is complete.
    pub fn finished(&self) {
        self.begun.iter().for_each(Begun::finished);
    }

    /// Acquires a lease for the same request on the child's successor, with the same slot. Retried requests run
    /// one at a time, so that the one that kills the next child, too, is identified.
    ///
    /// # Errors
    /// As `Engine::acquire`.
    pub async fn renew(self, request: Fingerprint) -> Result<Self> {
        let Self { begun, hold: Hold { entry, waited, _slot, mut use_guard }, .. } = self;
        drop(begun);
        use_guard.release();
        let on_probation = Mutex::new(use_guard.probation().await);
        let mut lease = Hold { entry, waited, _slot, use_guard }.lease().await?;
        (lease.on_probation, lease.is_renewed) = (on_probation, true);
        lease.begin(request);
        Ok(lease)
    }

    /// Client for the child.
    pub fn client(&self) -> &Client {
        &self.running.client
    }

    /// Context size in tokens, for prompt and answer together.
    pub fn context(&self) -> u32 {
        self.running.context
    }

    /// Time that this caller waited in the queue for a slot.
    pub fn waited(&self) -> Duration {
        self.hold.waited
    }

    /// Time that this caller waited for the model to load; zero when it was loaded.
    pub fn load(&self) -> Duration {
        self.load
    }

    /// Cause of the child's death after a failed request to it; `None` if it is alive. Returns within a second.
    pub async fn post_mortem(&self) -> Option<Death> {
        let mut state = self.state.clone();
        let ended =
            timeout(POST_MORTEM_TIMEOUT, state.wait_for(|state| matches!(state, ChildState::Ended(_)))).await;
        let ChildState::Ended(Some(failure)) = ended.ok()?.ok()?.clone() else { return None };
        Some(match failure.suspect() {
            Some(Suspicion::One(suspect)) if self.begun.iter().any(|begun| begun.is(suspect)) => {
                Death { error: failure.into_error_of_suspect(), is_anothers_fault: false }
            }
            suspect => Death { error: failure.into_error(), is_anothers_fault: suspect.is_some() },
        })
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("context", &self.context())
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

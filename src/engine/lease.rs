//! The right to talk to a child: no lease, no request. What it holds is given back when it is
//! dropped, so it lives in the reply's stream.

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
    // Declared last: the child is free before the slot is.
    hold: Hold,
}

/// A slot of a model whose child may still have to be started.
pub(super) struct Hold {
    pub(super) entry: Arc<Entry>,
    pub(super) waited: Duration,
    // In this order: the slot is free before the model counts as idle.
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) use_guard: UseGuard,
}

/// Why a child ended that was asked something.
#[derive(Debug)]
pub struct Death {
    pub error: Error,
    /// Another request is the suspect, or one of several is, so that this one may be asked again.
    pub is_anothers_fault: bool,
}

impl Hold {
    /// Waits for the child to be ready, starting it when there is none.
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
                // The next round starts it anew, or finds that nobody waits for its room any more.
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
    /// Whether it is the second one for a request.
    pub fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    /// Says that a request is given to the child from now on.
    pub fn begin(&mut self, request: Fingerprint) {
        self.begun = Some(self.running.starts.begin(request, self.is_renewed));
    }

    /// Says that something of the answer has arrived.
    pub fn said(&self) {
        self.begun.iter().for_each(Begun::said);
        // Whoever else is asked again may go on.
        drop(self.on_probation.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Says that the answer is complete.
    pub fn finished(&self) {
        self.begun.iter().for_each(Begun::finished);
    }

    /// A lease for the same request on the child's successor, with the slot that it has. Such requests begin one
    /// after the other, so that one of them that ends the next child, too, is found out.
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

    /// Speaks to the child.
    pub fn client(&self) -> &Client {
        &self.running.client
    }

    /// Tokens that prompt and answer may take together.
    pub fn context(&self) -> u32 {
        self.hold.use_guard.shared.settings.context_per_slot(&self.hold.entry)
    }

    /// How long this caller stood in line for a slot.
    pub fn waited(&self) -> Duration {
        self.hold.waited
    }

    /// How long this caller waited for the model to load; zero when it was loaded.
    pub fn load(&self) -> Duration {
        self.load
    }

    /// After a request to the child failed: why the child ended, `None` when it lives on. Returns
    /// within a second.
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

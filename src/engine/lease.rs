//! The right to talk to a child: no lease, no request. What it holds is given back when it is
//! dropped, so it lives in the reply's stream.

use std::{fmt, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

use super::{place::Phase, visit::Visit};
use crate::{client::Client, error::Error};

/// How long the news of a child's death may take after its connection broke.
const NEWS: Duration = Duration::from_secs(1);

/// One slot of a loaded model.
pub struct Lease {
    pub(super) client: Client,
    pub(super) context: u32,
    pub(super) waited: Duration,
    pub(super) load: Duration,
    pub(super) phase: watch::Receiver<Phase>,
    // Declared last and in this order: the slot is free before the model counts as idle.
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) _visit: Visit,
}

impl Lease {
    /// Speaks to the child.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Tokens that prompt and answer may take together.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// How long this caller stood in line for a slot.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How long this caller waited for the model to load; zero when it was loaded.
    pub fn load(&self) -> Duration {
        self.load
    }

    /// After a request to the child failed: why the child ended, `None` when it lives on. Returns
    /// within a second.
    pub async fn post_mortem(&self) -> Option<Error> {
        let mut phase = self.phase.clone();
        let ended = timeout(NEWS, phase.wait_for(|phase| matches!(phase, Phase::Ended(_)))).await;
        match ended.ok()?.ok()?.clone() {
            Phase::Ended(failure) => failure.map(super::place::Failure::into_error),
            _ => None,
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("context", &self.context)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

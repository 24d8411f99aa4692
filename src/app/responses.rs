//! Callers' stored responses, and those that are made in the background, which go on when their client has left.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::health::log_change;
use crate::{
    error::{Error, Kind, Result},
    store::{
        self,
        responses::{Chain, ResponseId, StoredResponse},
    },
    types::Principal,
};

/// Maximum number of responses in the background, waiting ones included: each holds its request.
const MAX_RUNS: usize = 64;
const MAX_RUNS_OF_A_KEY: usize = 16;
/// Maximum number of responses in the background that are made at a time; others wait.
const MAX_AT_A_TIME: usize = 8;

const EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);

pub struct Responses {
    /// None when nothing is to be stored.
    store: Option<store::Responses>,
    runs: Mutex<HashMap<ResponseId, Run>>,
    slots: Semaphore,
    is_down: AtomicBool,
    stopping: CancellationToken,
}

/// A response in the background.
struct Run {
    owner: Principal,
    has_begun: bool,
    cancelled: CancellationToken,
    /// Cancelled when its end is stored.
    ended: CancellationToken,
}

/// How far a stored response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Finished,
    Queued,
    InProgress,
    /// The server stopped before it was finished.
    Lost,
}

impl Responses {
    pub fn new(store: Option<store::Responses>) -> Arc<Self> {
        Arc::new(Self {
            store,
            runs: Mutex::default(),
            slots: Semaphore::new(MAX_AT_A_TIME),
            is_down: AtomicBool::new(false),
            stopping: CancellationToken::new(),
        })
    }

    /// Whether responses can be stored.
    pub fn is_enabled(&self) -> bool {
        self.store.is_some()
    }

    /// Returns why responses cannot be stored or read now; `None` if they can, or if none are to be stored.
    pub(super) async fn trouble(&self, patience: Duration) -> Option<String> {
        let store = self.store.as_ref()?;
        // A store that is busy is not down.
        let error = timeout(patience, store.check()).await.unwrap_or(Ok(())).err();
        let was_down = self.is_down.swap(error.is_some(), Ordering::Relaxed);
        log_change("stored responses", was_down, error.as_ref());
        error.map(|error| error.message().to_owned())
    }

    /// # Errors
    /// Those of the store.
    pub async fn put(&self, owner: &Principal, response: &StoredResponse) -> Result<()> {
        match &self.store {
            Some(store) => store.put(owner, response).await,
            None => Err(Error::new(Kind::Unavailable, "Responses are not stored: RESPONSES_MAX_MB is 0.")),
        }
    }

    /// # Errors
    /// Those of the store.
    pub async fn get(&self, owner: &Principal, id: ResponseId) -> Result<Option<(StoredResponse, Progress)>> {
        let Some(store) = &self.store else { return Ok(None) };
        // Before the row: a run has ended after its row is finished.
        let has_begun = self.runs().get(&id).map(|run| run.has_begun);
        let Some(found) = store.get(owner, id).await? else { return Ok(None) };
        let progress = match has_begun {
            _ if found.is_finished => Progress::Finished,
            Some(true) => Progress::InProgress,
            Some(false) => Progress::Queued,
            None => Progress::Lost,
        };
        Ok(Some((found, progress)))
    }

    /// The response and those that it continues.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn chain(&self, owner: &Principal, id: ResponseId, max_bytes: usize) -> Result<Chain> {
        match &self.store {
            Some(store) => store.chain(owner, id, max_bytes).await,
            None => Ok(Chain::Missing(id)),
        }
    }

    /// Deletes a response, after it has been cancelled if it is being made; false when there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, owner: &Principal, id: ResponseId) -> Result<bool> {
        self.cancel(owner, id).await;
        match &self.store {
            Some(store) => store.delete(owner, id).await,
            None => Ok(false),
        }
    }

    /// Cancels a response in the background, and waits until that is stored.
    pub async fn cancel(&self, owner: &Principal, id: ResponseId) {
        let ended = self.runs().get(&id).filter(|run| run.owner == *owner).map(|run| {
            run.cancelled.cancel();
            run.ended.clone()
        });
        if let Some(ended) = ended {
            ended.cancelled().await;
        }
    }

    /// Stores a response that is not finished, and makes it in the background: `work` returns its JSON at the end,
    /// and `cancelled` is its JSON when it is cancelled before.
    ///
    /// # Errors
    /// `Busy` when there are too many, and those of the store.
    pub(super) async fn start(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        owner: Principal,
        response: &StoredResponse,
        cancelled: String,
        work: impl Future<Output = String> + Send + 'static,
    ) -> Result<()> {
        let run = RunGuard::new(self, owner, response.id)?;
        self.put(&owner, response).await?;
        tasks.spawn(async move {
            let made = async {
                // It fails only when the semaphore is closed, which it never is.
                let _slot = run.responses.slots.acquire().await;
                if let Some(run) = run.responses.runs().get_mut(&run.id) {
                    run.has_begun = true;
                }
                work.await
            };
            let body = tokio::select! {
                biased;
                () = run.responses.stopping.cancelled() => return,
                () = run.cancelled.cancelled() => cancelled,
                body = made => body,
            };
            run.finish(&body).await;
        });
        Ok(())
    }

    /// Removes what has expired, now and then.
    pub(super) async fn expire(&self, ended: CancellationToken) {
        let Some(store) = &self.store else { return };
        let mut ticks = interval(EXPIRE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = store.expire().await {
                tracing::warn!("expired responses could not be removed: {}", error.chain());
            }
        }
    }

    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        if let Some(store) = &self.store {
            store.stop().await;
        }
    }

    /// Locks the list, which stays consistent even if a thread panics while holding it.
    fn runs(&self) -> MutexGuard<'_, HashMap<ResponseId, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Place of a response among the runs, until it is dropped.
struct RunGuard {
    responses: Arc<Responses>,
    owner: Principal,
    id: ResponseId,
    cancelled: CancellationToken,
}

impl RunGuard {
    fn new(responses: &Arc<Responses>, owner: Principal, id: ResponseId) -> Result<Self> {
        let mut runs = responses.runs();
        let of_key = runs.values().filter(|run| run.owner == owner).count();
        if runs.len() >= MAX_RUNS || of_key >= MAX_RUNS_OF_A_KEY {
            let message = format!(
                "Too many responses are in the background ({MAX_RUNS_OF_A_KEY} for a key, {MAX_RUNS} in all); try again when some are completed."
            );
            return Err(Error::new(Kind::Busy, message).retry_after(Duration::from_secs(10)));
        }
        let (cancelled, ended) = (CancellationToken::new(), CancellationToken::new());
        runs.insert(id, Run { owner, has_begun: false, cancelled: cancelled.clone(), ended });
        Ok(Self { responses: Arc::clone(responses), owner, id, cancelled })
    }

    async fn finish(&self, body: &str) {
        let Some(store) = &self.responses.store else { return };
        if let Err(error) = store.finish(&self.owner, self.id, body).await {
            tracing::warn!("a response made in the background could not be stored: {}", error.chain());
        }
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        if let Some(run) = self.responses.runs().remove(&self.id) {
            run.ended.cancel();
        }
    }
}

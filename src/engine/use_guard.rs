//! Users of a model, including those waiting for it.

use std::sync::Arc;

use tokio::{
    sync::OwnedMutexGuard,
    time::{Duration, Instant, timeout},
};

use super::{
    model_slot::{Key, ModelSlot},
    queue::Queue,
    state::Shared,
};
use crate::types::KeepAlive;

/// Limits the wait of retried requests for a long prompt that is retried, too.
const PROBATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts one user of a model, from the request for a lease to its end.
pub(super) struct UseGuard {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    leased: bool,
    /// Those of the model when it lined up.
    unloads: u64,
}

impl UseGuard {
    pub(super) fn new(shared: &Arc<Shared>, key: &Key, keep_alive: KeepAlive) -> (Self, Arc<Queue>) {
        let settings = &shared.settings;
        let mut table = shared.table();
        let model_slot = table.entry(key.clone()).or_insert_with(|| {
            let queue = Queue::new(settings.engine_parallel as usize, settings.engine_queue as usize);
            ModelSlot::new(queue, keep_alive)
        });
        model_slot.users += 1;
        let (queue, unloads) = (Arc::clone(&model_slot.queue), model_slot.unloads);
        drop(table);
        (Self { shared: Arc::clone(shared), key: key.clone(), leased: false, unloads }, queue)
    }

    /// Marks it as using the child; `lease_or_start` has already counted it there.
    pub(super) fn lease(&mut self) {
        self.leased = true;
    }

    /// Records that its child is gone.
    pub(super) fn release(&mut self) {
        if let Some(model_slot) = self.shared.table().get_mut(&self.key) {
            model_slot.leases -= usize::from(self.leased);
        }
        self.leased = false;
        self.shared.changed.send_replace(());
    }

    /// Waits until no other request is on probation, up to a limit.
    pub(super) async fn probation(&self) -> Option<OwnedMutexGuard<()>> {
        let probation =
            self.shared.table().get(&self.key).map(|model_slot| Arc::clone(&model_slot.probation))?;
        timeout(PROBATION_TIMEOUT, probation.lock_owned()).await.ok()
    }

    /// Sets the keep-alive. Requests that were refused a slot do not change it, nor do those that waited for one when
    /// unloading was requested.
    pub(super) fn granted(&self, keep_alive: KeepAlive) {
        let mut table = self.shared.table();
        if let Some(model_slot) = table.get_mut(&self.key).filter(|slot| slot.unloads == self.unloads) {
            model_slot.keep_alive = keep_alive;
        }
    }
}

impl Drop for UseGuard {
    fn drop(&mut self) {
        if let Some(model_slot) = self.shared.table().get_mut(&self.key) {
            model_slot.users -= 1;
            model_slot.leases -= usize::from(self.leased);
            model_slot.last_used = Instant::now();
        }
        self.shared.changed.send_replace(());
    }
}

//! Who uses a model, or is on the way to it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    place::{Crashes, Key, Place},
    pool::Shared,
    queue::Queue,
};
use crate::types::KeepAlive;

/// Counts one user of a model, from asking for it to the end of the lease.
pub(super) struct Visit {
    shared: Arc<Shared>,
    key: Key,
    pub(super) leased: bool,
}

impl Visit {
    pub(super) fn new(shared: &Arc<Shared>, key: &Key, keep_alive: KeepAlive) -> (Self, Arc<Queue>) {
        let settings = &shared.settings;
        let mut table = shared.table();
        let place = table.entry(key.clone()).or_insert_with(|| Place {
            queue: Arc::new(Queue::new(settings.engine_parallel as usize, settings.engine_queue as usize)),
            users: 0,
            leases: 0,
            keep_alive,
            last_used: Instant::now(),
            crashes: Crashes::default(),
            life: None,
        });
        place.users += 1;
        let queue = Arc::clone(&place.queue);
        drop(table);
        (Self { shared: Arc::clone(shared), key: key.clone(), leased: false }, queue)
    }

    /// Who was refused a slot has no say in how long the model stays.
    pub(super) fn granted(&self, keep_alive: KeepAlive) {
        if let Some(place) = self.shared.table().get_mut(&self.key) {
            place.keep_alive = keep_alive;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(place) = self.shared.table().get_mut(&self.key) {
            place.users -= 1;
            place.leases -= usize::from(self.leased);
            place.last_used = Instant::now();
        }
        self.shared.changed.send_replace(());
    }
}

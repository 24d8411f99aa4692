//! Whether there is room for one more child, and who has to go for it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    place::{Failure, Key, Phase, Place},
    pool::{Shared, Table},
};
use crate::error::Kind;

/// How long a model waits for the others to become idle.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Waits until the child `key` may start; its memory is reserved then. Idle models are unloaded for
/// it, the least recently used first.
pub(super) async fn admit(shared: &Shared, key: &Key) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut changed = shared.changed.subscribe();
    loop {
        if shared.reserve(key) {
            return Ok(());
        }
        if timeout_at(deadline, changed.changed()).await.is_err() {
            return Err(Failure::new(
                Kind::Unavailable,
                "All loaded models are busy and there is no room for another; try again later.",
                "",
            )
            .retry_after(RETRY_AFTER));
        }
    }
}

impl Shared {
    /// Refuses a child that needs more memory than all together may take.
    pub(super) fn fits(&self, key: &Key) -> Result<(), Failure> {
        match need(&self.table(), key) {
            Some(need) if need > self.budget => {
                let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
                let message = format!(
                    "The model needs about {} MB of memory and the engine may use {} MB; raise ENGINE_MEMORY_MB, lower ENGINE_CONTEXT or ENGINE_PARALLEL, or use a smaller model.",
                    megabytes(need),
                    megabytes(self.budget)
                );
                Err(Failure::new(Kind::Setup, message, ""))
            }
            _ => Ok(()),
        }
    }

    fn has_room(&self, count: usize, memory: u64, need: u64) -> bool {
        count < self.settings.engine_max_loaded as usize && memory.saturating_add(need) <= self.budget
    }

    /// Whether it helps when the idle ones go.
    fn has_room_beside_the_busy(&self, table: &Table, need: u64) -> bool {
        let (count, memory) = held(table, |place| place.users > 0);
        self.has_room(count, memory, need)
    }

    /// True when there was room. Otherwise the next one to go, if any, has been told to.
    fn reserve(&self, key: &Key) -> bool {
        let mut table = self.table();
        let Some(need) = need(&table, key) else { return false };
        let (count, memory) = held(&table, |_| true);
        let room = self.has_room(count, memory, need);
        if room {
            if let Some(life) = table.get_mut(key).and_then(|place| place.life.as_mut()) {
                life.admitted = true;
            }
        } else if self.has_room_beside_the_busy(&table, need) {
            evict_one(&table);
        }
        room
    }
}

fn need(table: &Table, key: &Key) -> Option<u64> {
    Some(table.get(key)?.life.as_ref()?.memory)
}

/// How many of these children there are or are about to be, and the bytes they take.
fn held(table: &Table, counts: impl Fn(&Place) -> bool) -> (usize, u64) {
    let places = table.values().filter(|place| counts(place));
    let admitted = places.filter_map(|place| place.life.as_ref()).filter(|life| life.admitted);
    admitted.fold((0, 0), |(count, memory), life| (count + 1, memory.saturating_add(life.memory)))
}

/// Ends the idle child that was used the longest time ago, unless one is ending already.
fn evict_one(table: &Table) {
    let lives = || table.values().filter_map(|place| Some((place, place.life.as_ref()?)));
    if lives().any(|(_, life)| life.admitted && life.stop.is_cancelled()) {
        return;
    }
    let idle = lives().filter(|(place, life)| {
        place.users == 0 && life.admitted && matches!(*life.phase.borrow(), Phase::Running(_))
    });
    if let Some((_, life)) = idle.min_by_key(|(place, _)| place.last_used) {
        tracing::info!(model = life.name, "unloading an idle model to make room for another");
        life.stop.cancel();
    }
}

//! Admission of children: whether there is room for one more, and which one is unloaded to make room.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    memory,
    model_slot::{ChildState, Failure, Key, ModelSlot},
    state::{Shared, Table},
};
use crate::error::Kind;

/// Time for which a model waits for another to become idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for making room, the time for idle models included.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Waits until the child `key` may start, and reserves its memory. Idle models are unloaded to make room, the
/// least recently used first. When none becomes idle for a while, a busy one is drained: otherwise a model
/// under constant load would starve the others.
pub(super) async fn admit(shared: &Shared, key: &Key) -> Result<(), Failure> {
    let began = Instant::now();
    let mut changed = shared.changed.subscribe();
    loop {
        match shared.reserve(key) {
            Room::Taken => return Ok(()),
            Room::Later => {}
            Room::Never { need, free } => return Err(short_of_memory(need, free)),
        }
        let patient = began.elapsed() < IDLE_TIMEOUT;
        if !patient && shared.drain_one(began + ADMISSION_TIMEOUT) {
            continue;
        }
        let next = began + if patient { IDLE_TIMEOUT } else { ADMISSION_TIMEOUT };
        if timeout_at(next, changed.changed()).await.is_err() && !patient {
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
    /// Refuses a child that needs more memory than the budget for all children.
    pub(super) fn fits(&self, key: &Key) -> Result<(), Failure> {
        match need(&self.table(), key) {
            Some(need) if need > self.budget => {
                let message = format!(
                    "The model needs about {} MB of memory, but the engine may use only {} MB; raise ENGINE_MEMORY_MB, lower ENGINE_CONTEXT or ENGINE_PARALLEL, or use a smaller model.",
                    megabytes(need),
                    megabytes(self.budget)
                );
                Err(Failure::new(Kind::Setup, message, ""))
            }
            _ => Ok(()),
        }
    }

    /// Drains the busy child that was loaded first; false when there is none, or one is draining already. A child that
    /// has just been loaded serves those who wait for it first: otherwise it could be unloaded and loaded for ever.
    fn drain_one(&self, until: Instant) -> bool {
        let mut table = self.table();
        let lives =
            || table.values().filter_map(|model_slot| model_slot.life.as_ref()).filter(|life| life.admitted);
        if lives().any(|life| life.stop.is_cancelled() || life.is_draining()) {
            return false;
        }
        let busy = table.values_mut().filter(|model_slot| model_slot.leases > 0);
        let running = busy.filter_map(|model_slot| model_slot.life.as_mut());
        let running = running.filter(|life| life.is_admitted_and_running());
        let Some(life) = running.min_by_key(|life| life.since()) else { return false };
        tracing::info!(model = life.name, "draining a busy model to make room for another");
        life.draining_until = Some(until);
        true
    }

    /// Takes the room for a child if there is any. Otherwise the next child to unload, if any, has been stopped.
    fn reserve(&self, key: &Key) -> Room {
        let mut table = self.table();
        let Some(need) = need(&table, key) else { return Room::Later };
        let demand = Demand {
            need,
            free: memory::free().saturating_sub(loading(&table)),
            all: held(&table, |_| true),
            busy: held(&table, |model_slot| !model_slot.can_go()),
            limit: Held { count: self.settings.engine_max_loaded as usize, memory: self.budget },
        };
        match demand.decide() {
            Decision::Start => {
                if let Some(life) = table.get_mut(key).and_then(|model_slot| model_slot.life.as_mut()) {
                    life.admitted = true;
                }
                Room::Taken
            }
            Decision::Refuse => Room::Never { need, free: demand.free },
            Decision::Evict => {
                evict_one(&table);
                Room::Later
            }
            Decision::Wait => Room::Later,
        }
    }
}

/// Number of children, and bytes of their memory.
#[derive(Clone, Copy)]
struct Held {
    count: usize,
    memory: u64,
}

/// Facts that decide whether a child starts. Memory is in bytes.
struct Demand {
    need: u64,
    /// Free memory of the machine or the container, less what starting children will take.
    free: u64,
    all: Held,
    /// Those that cannot be unloaded now.
    busy: Held,
    limit: Held,
}

#[derive(Debug, PartialEq)]
enum Decision {
    Start,
    /// Unload an idle child first.
    Evict,
    Wait,
    Refuse,
}

impl Demand {
    fn decide(&self) -> Decision {
        let is_free = self.need <= self.free;
        match self.fits_beside(self.all) {
            true if is_free => Decision::Start,
            _ if !is_free && self.all.count == 0 => Decision::Refuse,
            _ if !is_free || self.fits_beside(self.busy) => Decision::Evict,
            _ => Decision::Wait,
        }
    }

    fn fits_beside(&self, held: Held) -> bool {
        held.count < self.limit.count && held.memory.saturating_add(self.need) <= self.limit.memory
    }
}

/// Answer to a child that wants to start.
enum Room {
    Taken,
    Later,
    /// The machine has too little free memory, and no other child that could be unloaded. In bytes.
    Never {
        need: u64,
        free: u64,
    },
}

fn short_of_memory(need: u64, free: u64) -> Failure {
    let message = format!(
        "The model needs about {} MB of memory, but only {} MB are free; close other programs, lower ENGINE_CONTEXT or ENGINE_PARALLEL, or use a smaller model.",
        megabytes(need),
        megabytes(free)
    );
    Failure::new(Kind::Unavailable, message, "").retry_after(RETRY_AFTER)
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// Bytes that admitted children will take, but do not hold yet.
fn loading(table: &Table) -> u64 {
    let lives = table.values().filter_map(|model_slot| model_slot.life.as_ref()).filter(|life| life.admitted);
    let loading = lives.filter(|life| matches!(*life.state.borrow(), ChildState::Starting));
    loading.map(|life| life.fit.memory.total()).fold(0, u64::saturating_add)
}

fn need(table: &Table, key: &Key) -> Option<u64> {
    Some(table.get(key)?.life.as_ref()?.fit.memory.total())
}

/// These children, including those about to start.
fn held(table: &Table, counts: impl Fn(&ModelSlot) -> bool) -> Held {
    let model_slots = table.values().filter(|model_slot| counts(model_slot));
    let admitted = model_slots.filter_map(|model_slot| model_slot.life.as_ref()).filter(|life| life.admitted);
    admitted.fold(Held { count: 0, memory: 0 }, |held, life| Held {
        count: held.count + 1,
        memory: held.memory.saturating_add(life.fit.memory.total()),
    })
}

/// Stops the least recently used child that may be unloaded, unless one is stopping already.
fn evict_one(table: &Table) {
    let lives = || table.values().filter_map(|model_slot| Some((model_slot, model_slot.life.as_ref()?)));
    if lives().any(|(_, life)| life.admitted && life.stop.is_cancelled()) {
        return;
    }
    let idle = lives().filter(|(model_slot, _)| model_slot.can_go());
    if let Some((_, life)) = idle.min_by_key(|(model_slot, _)| model_slot.last_used) {
        tracing::info!(model = life.name, "unloading a model to make room for another");
        life.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_decides_whether_a_model_starts() {
        use Decision::{Evict, Refuse, Start, Wait};
        let held = |count, memory| Held { count, memory };
        let none = held(0, 0);
        // Needed and free memory, all loaded models and the busy ones; three models and 1000 bytes are the limit.
        for (need, free, all, busy, decision) in [
            (500, 500, none, none, Start),
            (500, 499, none, none, Refuse),
            (500, 600, held(1, 500), none, Start),
            (500, 499, held(1, 100), none, Evict),
            // None can be evicted, but one may become idle.
            (500, 499, held(1, 100), held(1, 100), Evict),
            (500, 600, held(1, 501), none, Evict),
            (500, 600, held(1, 501), held(1, 501), Wait),
            (500, 600, held(3, 30), held(2, 20), Evict),
            (500, 600, held(3, 30), held(3, 30), Wait),
            (u64::MAX, 600, held(1, 1), none, Evict),
            (u64::MAX, 600, none, none, Refuse),
        ] {
            let demand = Demand { need, free, all, busy, limit: held(3, 1000) };
            assert_eq!(demand.decide(), decision, "{need} of {free}, {} loaded", all.count);
        }
    }

    #[test]
    fn a_model_that_is_larger_than_the_free_memory_is_refused_with_both_numbers() {
        let error = short_of_memory(5_600_000_001, 1_200_000_000).into_error();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.retry_after_hint().is_some());
        assert!(
            error
                .message()
                .starts_with("The model needs about 5601 MB of memory, but only 1200 MB are free;"),
            "{error}"
        );
    }
}

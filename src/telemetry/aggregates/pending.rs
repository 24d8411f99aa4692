//! Aggregates that are not on disk for good yet: the current minute, those before it that
//! could not be written, and failures. It knows no database.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    failures::{FailureRecord, Failures},
    totals::Aggregates,
};
use crate::telemetry::record::{ModelCall, RequestRecord};

/// A busy day that cannot be written, and then the oldest minutes go.
const MINUTES: usize = 1440;

/// Minutes since 1970.
pub type Minute = i64;

/// Figures of one minute by one process. More than one part may have been made of a minute: a
/// clock that is put back, a restart, another server. They add up.
#[derive(Clone, Debug)]
pub struct MinuteRow {
    pub minute: Minute,
    /// Drawn at random: no two parts share one.
    pub id: i64,
    pub aggregates: Aggregates,
}

#[derive(Default)]
pub(super) struct Pending {
    /// Each with whether it has changed since it was written.
    parts: BTreeMap<Minute, (Arc<MinuteRow>, bool)>,
    failures: Failures,
}

/// A copy of what is pending.
#[derive(Clone, Debug, Default)]
pub struct Unwritten {
    pub parts: Vec<Arc<MinuteRow>>,
    /// The oldest first.
    pub failures: Vec<FailureRecord>,
}

impl Pending {
    pub(super) fn request(&mut self, request: &RequestRecord) {
        self.aggregates(minute(request.ended_at)).request(request);
        self.failures.request(request);
    }

    pub(super) fn call(&mut self, call: &ModelCall) {
        self.aggregates(minute(call.ended_at)).call(call);
    }

    pub(super) fn aggregates(&mut self, minute: Minute) -> &mut Aggregates {
        if !self.parts.contains_key(&minute) && self.parts.len() >= MINUTES {
            self.parts.pop_first();
        }
        let (part, changed) = self.parts.entry(minute).or_insert_with(|| {
            (Arc::new(MinuteRow { minute, id: random_id(), aggregates: Aggregates::default() }), true)
        });
        *changed = true;
        // Copies it first when a reader still has it.
        &mut Arc::make_mut(part).aggregates
    }

    pub(super) fn unwritten(&self, changed_only: bool) -> Unwritten {
        let parts = self.parts.values().filter(|(_, changed)| *changed || !changed_only);
        Unwritten {
            parts: parts.map(|(part, _)| Arc::clone(part)).collect(),
            failures: self.failures.to_vec(),
        }
    }

    /// Forgets what has been written, except the minute that is still running. What has come since
    /// stays.
    pub(super) fn written(&mut self, written: &Unwritten, now: SystemTime) {
        for done in &written.parts {
            let Some((part, changed)) = self.parts.get_mut(&done.minute) else { continue };
            if !Arc::ptr_eq(part, done) {
                continue;
            }
            *changed = false;
            if done.minute != minute(now) {
                self.parts.remove(&done.minute);
            }
        }
        self.failures.retain(|failure| !written.failures.contains(failure));
    }
}

pub(super) fn minute(at: SystemTime) -> Minute {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds / 60).unwrap_or(0)
}

fn random_id() -> i64 {
    // Without random numbers the time is nearly as good.
    getrandom::u64().map_or_else(
        |_| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64),
        u64::cast_signed,
    )
}

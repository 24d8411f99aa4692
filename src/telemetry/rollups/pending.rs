//! What has been added up and is not on disk for good yet: the current minute, those before it that
//! could not be written, and failures. It knows no database.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Figures, Record};
use crate::telemetry::observation::Outcome;

/// A busy day that cannot be written, and then the oldest minutes go.
const MINUTES: usize = 1440;

/// Failures of callers with a key, and of strangers, that wait to be written; then the oldest go.
const FAILURES: usize = 1000;
const REFUSALS: usize = 100;

/// Minutes since 1970.
pub type Minute = i64;

/// Figures of one minute by one process. More than one part may have been made of a minute: a
/// clock that is put back, a restart, another server. They add up.
#[derive(Clone, Debug)]
pub struct Part {
    pub minute: Minute,
    /// Drawn at random: no two parts share one.
    pub id: i64,
    pub figures: Figures,
}

/// A failed request, for the record.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRecord {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub request_id: String,
    pub method: String,
    /// As it was sent, without the query, cut off after 200 characters.
    pub path: String,
    pub status: u16,
    /// From `labels::error_type`.
    pub kind: String,
    pub message: String,
    /// Refused, and nobody's that has a key.
    pub stranger: bool,
}

#[derive(Default)]
pub(super) struct Pending {
    parts: BTreeMap<Minute, (Part, bool)>,
    failures: VecDeque<FailureRecord>,
    refusals: VecDeque<FailureRecord>,
}

/// A copy of what is pending.
#[derive(Clone, Debug, Default)]
pub struct Unwritten {
    pub parts: Vec<Part>,
    /// The oldest first.
    pub failures: Vec<FailureRecord>,
}

impl Pending {
    pub(super) fn add(&mut self, record: Record) {
        match record {
            Record::Request(request) => {
                self.figures(request.ended_at).request(&request);
                if let Some(failure) = request.failure {
                    self.failed(*failure, request.outcome);
                }
            }
            Record::Call(call) => self.figures(call.ended_at).call(&call),
        }
    }

    pub(super) fn figures(&mut self, at: SystemTime) -> &mut Figures {
        let minute = minute(at);
        if !self.parts.contains_key(&minute) && self.parts.len() >= MINUTES {
            self.parts.pop_first();
        }
        let (part, changed) = self
            .parts
            .entry(minute)
            .or_insert_with(|| (Part { minute, id: random_id(), figures: Figures::default() }, true));
        *changed = true;
        &mut part.figures
    }

    fn failed(&mut self, failure: FailureRecord, outcome: Outcome) {
        let (list, most) = match outcome {
            Outcome::Stranger => (&mut self.refusals, REFUSALS),
            _ => (&mut self.failures, FAILURES),
        };
        if list.len() >= most {
            list.pop_front();
        }
        list.push_back(failure);
    }

    pub(super) fn unwritten(&self, changed_only: bool) -> Unwritten {
        let parts = self.parts.values().filter(|(_, changed)| *changed || !changed_only);
        let mut failures: Vec<FailureRecord> = self.failures.iter().chain(&self.refusals).cloned().collect();
        failures.sort_by_key(|failure| failure.at_ms);
        Unwritten { parts: parts.map(|(part, _)| part.clone()).collect(), failures }
    }

    /// Forgets what has been written, except the minute that is still running. What has come since
    /// stays.
    pub(super) fn written(&mut self, written: &Unwritten, now: SystemTime) {
        for done in &written.parts {
            let Some((part, changed)) = self.parts.get_mut(&done.minute) else { continue };
            if part.id != done.id || part.figures != done.figures {
                continue;
            }
            *changed = false;
            if done.minute != minute(now) {
                self.parts.remove(&done.minute);
            }
        }
        self.failures.retain(|failure| !written.failures.contains(failure));
        self.refusals.retain(|failure| !written.failures.contains(failure));
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

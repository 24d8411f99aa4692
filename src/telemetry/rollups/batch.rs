//! What one thread has seen since somebody last collected it.

use super::{
    Figures, Recent,
    failures::Failures,
    pending::{Minute, minute},
    window::Second,
};
use crate::telemetry::{call::Call, observation::Observed};

/// It is collected every few seconds, so that the lists have an entry or two.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) minutes: Vec<(Minute, Figures)>,
    pub(super) seconds: Vec<(Second, Recent)>,
    pub(super) failures: Failures,
}

impl Batch {
    pub(super) fn request(&mut self, second: Second, request: &Observed) {
        let outcome = request.outcome();
        if let Some(happened) = Recent::of_request(request, outcome) {
            of(&mut self.seconds, second).add(&happened);
        }
        of(&mut self.minutes, minute(request.ended_at)).request(request, outcome);
        self.failures.request(request, outcome);
    }

    pub(super) fn call(&mut self, second: Second, call: &Call) {
        of(&mut self.seconds, second).add(&Recent::of_call(call));
        of(&mut self.minutes, minute(call.ended_at)).call(call);
    }
}

/// What belongs to this time, which is nearly always the last one.
fn of<K: PartialEq, V: Default>(list: &mut Vec<(K, V)>, time: K) -> &mut V {
    let at = list.iter().rposition(|(known, _)| *known == time).unwrap_or_else(|| {
        list.push((time, V::default()));
        list.len() - 1
    });
    &mut list[at].1
}

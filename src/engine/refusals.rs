//! Requests that have killed two children: they are refused for a while.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};

/// Hash of everything in a request that can change its answer.
pub type Fingerprint = [u8; 32];

/// Number of deaths after which a request is refused: one may be chance, or caused by a request that began at
/// the same moment.
const DEATH_LIMIT: u32 = 2;
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Maximum number of remembered requests, which bounds memory.
const REQUEST_LIMIT: usize = 1024;

#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Fingerprint, Blame>>);

struct Blame {
    deaths: u32,
    last: Instant,
}

impl Refusals {
    /// Notes that a child has died, and that this request is the suspect.
    pub(super) fn blame(&self, request: Fingerprint, now: Instant) {
        let mut all = self.all();
        all.retain(|_, blame| now.saturating_duration_since(blame.last) < REFUSED_FOR);
        if all.len() >= REQUEST_LIMIT
            && let Some(oldest) = all.iter().min_by_key(|(_, blame)| blame.last).map(|(request, _)| *request)
        {
            all.remove(&oldest);
        }
        let blame = all.entry(request).or_insert(Blame { deaths: 0, last: now });
        blame.deaths += 1;
        blame.last = now;
    }

    /// # Errors
    /// `Invalid` when this request has recently killed two children.
    pub(super) fn check(&self, request: &Fingerprint, now: Instant) -> Result<()> {
        let all = self.all();
        let Some(blame) = all.get(request).filter(|blame| blame.deaths >= DEATH_LIMIT) else { return Ok(()) };
        let left = REFUSED_FOR.saturating_sub(now.saturating_duration_since(blame.last));
        if left.is_zero() {
            return Ok(());
        }
        let minutes = left.as_secs().div_ceil(60);
        let message = format!(
            "This request made the engine fail {DEATH_LIMIT} times and is refused for the next {minutes} min; change it before you send it again."
        );
        Err(Error::new(Kind::Invalid, message).retry_after(left))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Fingerprint, Blame>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_refused_after_two_deaths_and_for_a_while() {
        let (refusals, request, now) = (Refusals::default(), [1; 32], Instant::now());
        refusals.blame(request, now);
        refusals.check(&request, now).expect("once is not twice");
        refusals.blame(request, now);
        let refusal = refusals.check(&request, now).expect_err("twice");
        assert_eq!(refusal.kind(), Kind::Invalid);
        assert!(refusal.message().contains("for the next 10 min"), "{refusal:?}");
        assert_eq!(refusal.retry_after_hint(), Some(REFUSED_FOR));
        refusals.check(&[2; 32], now).expect("another request");
        let later = now + REFUSED_FOR;
        refusals.check(&request, later).expect("after a while");
        refusals.blame(request, later);
        refusals.check(&request, later).expect("and then it begins anew");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let refusals = Refusals::default();
        for n in 0..2 * REQUEST_LIMIT {
            let mut request = [0; 32];
            request[..8].copy_from_slice(&n.to_le_bytes());
            refusals.blame(request, Instant::now());
        }
        assert_eq!(refusals.all().len(), REQUEST_LIMIT);
    }
}

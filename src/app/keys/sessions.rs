//! Sign-in tokens and the session keys that they are exchanged for. Both are kept as hashes, and only in memory.

use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::{hash, random_hex};
use crate::{error::Result, types::Secret};

/// Time for which a sign-in token can be used.
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Time for which a session key opens the API.
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A session that has just been opened.
#[derive(Debug)]
pub struct Session {
    pub key: Secret,
    pub expires_at: Timestamp,
}

#[derive(Default)]
pub(super) struct Sessions(RwLock<State>);

#[derive(Default)]
struct State {
    tokens: Hashes,
    sessions: Hashes,
}

/// Hashes until they expire.
#[derive(Default)]
struct Hashes(Vec<([u8; 32], Instant)>);

impl Sessions {
    /// Makes a token that signs in once.
    pub(super) fn new_token(&self, now: Instant) -> Result<Secret> {
        let token = random_hex()?;
        self.write().tokens.insert(&token, now + TOKEN_LIFETIME, now);
        Ok(Secret::new(token))
    }

    /// Opens a session; none if the token is not valid (any more).
    pub(super) fn exchange(&self, token: &[u8], now: Instant) -> Result<Option<Session>> {
        // Before the token is used up, which a failure must not do.
        let key = format!("session-{}", random_hex()?);
        let mut state = self.write();
        if !state.tokens.remove(token, now) {
            return Ok(None);
        }
        state.sessions.insert(&key, now + SESSION_LIFETIME, now);
        let expires_at = Timestamp::now().checked_add(SESSION_LIFETIME).unwrap_or(Timestamp::MAX);
        Ok(Some(Session { key: Secret::new(key), expires_at }))
    }

    /// Whether this is the key of an open session.
    pub(super) fn contains(&self, key_hash: &[u8; 32], now: Instant) -> bool {
        self.read().sessions.contains(key_hash, now)
    }

    /// Ends a session, and returns whether there was one.
    pub(super) fn end(&self, key: &[u8], now: Instant) -> bool {
        self.write().sessions.remove(key, now)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hashes {
    fn insert(&mut self, text: &str, expires: Instant, now: Instant) {
        self.0.retain(|(_, expires)| now < *expires);
        self.0.push((hash(text.as_bytes()), expires));
    }

    /// Looks at all of them, so that the time taken tells nothing.
    fn contains(&self, sought: &[u8; 32], now: Instant) -> bool {
        let open = |(hash, expires): &([u8; 32], Instant)| bool::from(hash.ct_eq(sought)) & (now < *expires);
        self.0.iter().fold(false, |found, one| found | open(one))
    }

    fn remove(&mut self, text: &[u8], now: Instant) -> bool {
        let sought = hash(text);
        let found = self.contains(&sought, now);
        self.0.retain(|(hash, _)| !bool::from(hash.ct_eq(&sought)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(sessions: &Sessions, session: &Session, now: Instant) -> bool {
        sessions.contains(&hash(session.key.expose().as_bytes()), now)
    }

    #[test]
    fn a_token_signs_in_once_and_for_fifteen_minutes() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(minutes * 60);
        let exchange =
            |token: &Secret, at| sessions.exchange(token.expose().as_bytes(), at).expect("random numbers");
        let (first, second) = (sessions.new_token(start), sessions.new_token(start));
        let (first, second) = (first.expect("a token"), second.expect("a token"));
        assert_ne!(first, second);
        assert_eq!(first.expose().len(), 64, "256 bits");
        assert!(exchange(&Secret::new("wrong"), start).is_none());
        let session = exchange(&first, minutes(14)).expect("in time");
        assert!(exchange(&first, minutes(14)).is_none(), "used");
        assert!(exchange(&second, minutes(15)).is_none(), "expired");
        assert!(exchange(&Secret::new(session.key.expose()), minutes(14)).is_none(), "a key is no token");
        assert_eq!(format!("{session:?}").matches("redacted").count(), 1);
    }

    #[test]
    fn a_session_ends_after_twelve_hours_or_when_its_key_is_signed_out() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let open = || {
            let token = sessions.new_token(start).expect("a token");
            let session = sessions.exchange(token.expose().as_bytes(), start);
            session.expect("random numbers").expect("a session")
        };
        let (first, second) = (open(), open());
        let hours = |hours: u64| start + Duration::from_secs(hours * 3600);
        let stated = first.expires_at.duration_since(Timestamp::now()).as_secs();
        assert!(
            (SESSION_LIFETIME.as_secs() - 60..=SESSION_LIFETIME.as_secs()).contains(&stated.unsigned_abs())
        );
        assert!(opens(&sessions, &first, hours(11)) && !opens(&sessions, &first, hours(12)));
        assert!(sessions.end(first.key.expose().as_bytes(), hours(1)));
        assert!(!sessions.end(first.key.expose().as_bytes(), hours(1)), "it has ended");
        assert!(!opens(&sessions, &first, hours(1)) && opens(&sessions, &second, hours(1)));
    }
}

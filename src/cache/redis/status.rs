//! Status of Redis in a few plain words for the operator: in the statistics while it
//! lasts, and in the log once, when it changes.

use std::sync::{Mutex, PoisonError};

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Activities that fail independently of each other.
#[derive(Clone, Copy)]
pub(super) enum Activity {
    Connection,
    Reading,
    Writing,
}

pub(super) struct Status(Mutex<[Option<&'static str>; 3]>);

impl Status {
    pub(super) fn new() -> Self {
        Self(Mutex::new([Some("connecting"), None, None]))
    }

    /// The first trouble there is, else `available`.
    pub(super) fn text(&self) -> &'static str {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.iter().flatten().next().copied().unwrap_or("available")
    }

    pub(super) fn trouble(&self, activity: Activity, words: &'static str, cause: &RedisError) {
        if self.change(activity, Some(words)) {
            // What Redis or the system said; neither repeats the password.
            tracing::warn!(%cause, "cache: Redis has a problem: {words}");
        }
    }

    pub(super) fn well(&self, activity: Activity) {
        if self.change(activity, None) {
            tracing::info!("cache: Redis status: {}", self.text());
        }
    }

    fn change(&self, activity: Activity, to: Option<&'static str>) -> bool {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut troubles[activity as usize], to);
        before != to
    }
}

/// Describes an error for the operator.
pub(super) fn describe(error: &RedisError) -> &'static str {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => "Redis rejected the password",
        (_, Some("NOAUTH")) => "Redis requires a password",
        (_, Some("OOM")) => "Redis is out of memory: existing entries are used, new ones are not stored",
        (_, Some("MISCONF")) => {
            "Redis cannot write to its disk: existing entries are used, new ones are not stored"
        }
        (ErrorKind::RESP3NotSupported, _) => "Redis is too old: 6.0 or later is needed",
        (ErrorKind::MasterNameNotFoundBySentinel, _) => "no sentinel knows a master with this name",
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
            "the Redis user lacks permissions that the cache needs"
        }
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => "Redis is still loading its data",
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            "Redis is a read-only replica: new entries are not stored"
        }
        (ErrorKind::Server(ServerErrorKind::ClusterDown), _) => "the Redis cluster is down",
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => "Redis rejected a command",
        _ if error.is_timeout() => "Redis did not respond in time",
        _ => "Redis cannot be reached",
    }
}

/// Advice for an error of connecting.
pub(super) fn advice(error: &RedisError) -> &'static str {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            "set the user and password in REDIS_URL"
        }
        (ErrorKind::RESP3NotSupported, _) => "upgrade it, or set REDIS_URL to another server",
        (ErrorKind::MasterNameNotFoundBySentinel, _) => "correct the name in REDIS_URL",
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => "grant them, or set another user in REDIS_URL",
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => {
            "check its log, or set REDIS_URL to another server"
        }
        _ => "start it, or correct REDIS_URL",
    }
}

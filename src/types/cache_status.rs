//! The cache's part in a reply, as `Cache-Status` (RFC 9211), log lines and traces report it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

#[derive(Clone, Debug)]
pub enum CacheStatus {
    /// Answered from the cache.
    Hit { age: Duration, ttl: Duration },
    /// Generated; the flag turns true once the reply is stored.
    Miss { stored: Arc<AtomicBool> },
    /// Generated anew because the caller asked for it.
    Refreshed { stored: Arc<AtomicBool> },
    /// Joined to an identical request in flight.
    Collapsed,
    /// Some of it was known.
    Partial,
    /// The cache had no part in it.
    Bypass,
}

impl CacheStatus {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Miss { .. } => "miss",
            Self::Refreshed { .. } => "refreshed",
            Self::Collapsed => "collapsed",
            Self::Partial => "partial",
            Self::Bypass => "bypass",
        }
    }
}

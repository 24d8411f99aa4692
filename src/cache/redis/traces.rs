//! Markers that clears leave in Redis: one for each type, replaced with every clear.
//! A replica that was cut off looks whether it has changed, and then also lets go of what it made
//! itself in that time: Redis has never had that, and could not tell of its removal.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{RedisResult, cmd};

use super::{
    connection::{BACKGROUND, Connection, is_broken, within},
    format::PREFIX,
};
use crate::cache::{memory::kinds_of, store::Kind};

type Trace = Vec<u8>;

/// The traces that were there when this process last looked.
#[derive(Default)]
pub(super) struct Traces {
    seen: Mutex<[Option<Trace>; Kind::ALL.len()]>,
}

impl Traces {
    /// Leaves a new trace of one kind, or of all. Redis may refuse it, for want of memory for
    /// instance; the clear then goes on, and only who is cut off at this moment does not learn of it.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn leave(&self, connection: &mut Connection, kind: Option<Kind>) -> RedisResult<()> {
        for kind in kinds_of(kind) {
            let trace = random();
            let mut set = cmd("SET");
            set.arg(name(*kind)).arg(&trace);
            match within(BACKGROUND, connection.run::<()>(&set)).await {
                Ok(()) => self.seen()[*kind as usize] = Some(trace),
                Err(error) if is_broken(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, "cache: Redis keeps no trace of a clear"),
            }
        }
        Ok(())
    }

    /// The kinds that somebody else has cleared since the last look. A trace that is gone, from a
    /// Redis that was started anew, is none.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn look(&self, connection: &mut Connection) -> RedisResult<Vec<Kind>> {
        let mut mget = cmd("MGET");
        Kind::ALL.iter().for_each(|kind| {
            mget.arg(name(*kind));
        });
        let found: Vec<Option<Trace>> = match within(BACKGROUND, connection.run(&mget)).await {
            Ok(found) => found,
            Err(error) if is_broken(&error) => return Err(error),
            Err(_) => return Ok(Vec::new()),
        };
        let mut cleared = Vec::new();
        for (kind, (seen, trace)) in Kind::ALL.into_iter().zip(self.seen().iter_mut().zip(found)) {
            if trace.is_some() && *seen != trace {
                *seen = trace;
                cleared.push(kind);
            }
        }
        Ok(cleared)
    }

    /// A list of whole values whoever panicked while holding it.
    fn seen(&self) -> MutexGuard<'_, [Option<Trace>; Kind::ALL.len()]> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(kind: Kind) -> String {
    format!("{PREFIX}cleared:{}", kind.as_str())
}

fn random() -> Trace {
    let mut trace = vec![0; 16];
    // Without random numbers two clears look the same, which only who is cut off between them misses.
    let _ = getrandom::fill(&mut trace);
    trace
}

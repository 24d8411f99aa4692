//! Markers that clears leave in Redis: one for each type, replaced with every clear.
//! A replica that was cut off looks whether it has changed, and then also lets go of what it made
//! itself in that time: Redis has never had that, and could not tell of its removal.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{RedisResult, cmd};

use super::{
    connection::{BACKGROUND_TIMEOUT, Connection, is_broken, with_timeout},
    format::PREFIX,
};
use crate::{
    cache::{memory::types_of, store::EntryType},
    types::PerType,
};

type Marker = Vec<u8>;

/// The traces that were there when this process last looked.
#[derive(Default)]
pub(super) struct ClearMarkers {
    seen: Mutex<PerType<Option<Marker>>>,
}

impl ClearMarkers {
    /// Writes a new marker for one kind, or for all. If Redis refuses it, for want of memory for instance, the
    /// clear continues, and only servers that are disconnected at this moment miss it.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn leave(
        &self,
        connection: &mut Connection,
        entry_type: Option<EntryType>,
    ) -> RedisResult<()> {
        for entry_type in types_of(entry_type) {
            let marker = random();
            let mut set = cmd("SET");
            set.arg(name(entry_type)).arg(&marker);
            match with_timeout(BACKGROUND_TIMEOUT, connection.run::<()>(&set)).await {
                Ok(()) => self.seen()[entry_type] = Some(marker),
                Err(error) if is_broken(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, "cache: clearing could not be recorded in Redis"),
            }
        }
        Ok(())
    }

    /// Returns the kinds that other servers have cleared since the last look. A marker that is missing, because
    /// Redis was restarted, counts as none.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn look(&self, connection: &mut Connection) -> RedisResult<Vec<EntryType>> {
        let mut mget = cmd("MGET");
        EntryType::ALL.iter().for_each(|entry_type| {
            mget.arg(name(*entry_type));
        });
        let found: Vec<Option<Marker>> = match with_timeout(BACKGROUND_TIMEOUT, connection.run(&mget)).await {
            Ok(found) => found,
            Err(error) if is_broken(&error) => return Err(error),
            Err(_) => return Ok(Vec::new()),
        };
        let mut cleared = Vec::new();
        let mut seen = self.seen();
        for (entry_type, marker) in EntryType::ALL.into_iter().zip(found) {
            if marker.is_some() && seen[entry_type] != marker {
                seen[entry_type] = marker;
                cleared.push(entry_type);
            }
        }
        Ok(cleared)
    }

    /// Locks the list, which stays consistent even if a thread panics while holding it.
    fn seen(&self) -> MutexGuard<'_, PerType<Option<Marker>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(entry_type: EntryType) -> String {
    format!("{PREFIX}cleared:{}", entry_type.as_str())
}

fn random() -> Marker {
    let mut marker = vec![0; 16];
    // Without random numbers two clears look the same, which only a server that is disconnected between them
    // misses.
    let _ = getrandom::fill(&mut marker);
    marker
}

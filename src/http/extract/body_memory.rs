//! The memory that large bodies take: all of them together, and those of one key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::types::Principal;

/// Large bodies wait here for their share, which they announce before they are read.
pub struct BodyMemory {
    /// A permit for each kilobyte.
    all: Arc<Semaphore>,
    /// Kilobytes for one key.
    share: usize,
    /// One for each key that has sent a large body: keys are few, and unauthenticated callers send none.
    keys: Mutex<HashMap<Principal, Arc<Semaphore>>>,
}

/// The memory that one large body holds for as long as this value lives.
#[derive(Default)]
pub(in crate::http) struct Room(Option<Permits>);

struct Permits {
    of_all: OwnedSemaphorePermit,
    of_key: OwnedSemaphorePermit,
}

impl BodyMemory {
    /// Half of it for each key, so that one key alone cannot lock others out, and at least one largest body.
    pub fn new(all_mb: u64, largest_mb: u64) -> Self {
        let kilobytes = |megabytes| usize::try_from(megabytes).unwrap_or(usize::MAX / 1024) * 1024;
        let (all, largest) = (kilobytes(all_mb.max(largest_mb)), kilobytes(largest_mb));
        Self { all: Arc::new(Semaphore::new(all)), share: largest.max(all / 2), keys: Mutex::default() }
    }

    /// Completes when there is room for so many bytes.
    pub(in crate::http) async fn room(&self, key: Principal, bytes: usize) -> Room {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // The key's own share first: waiting for it delays no other key.
        let of_key = self.share_of(key).acquire_many_owned(kilobytes).await;
        let of_all = Arc::clone(&self.all).acquire_many_owned(kilobytes).await;
        // None only when a semaphore is closed, which these never are.
        Room(of_key.ok().zip(of_all.ok()).map(|(of_key, of_all)| Permits { of_all, of_key }))
    }

    /// Makes room for so many more bytes. What the body had is given back before, so that two that wait for each
    /// other's room do not wait forever; more than the key's share is not waited for.
    pub(in crate::http) async fn enlarge(&self, key: Principal, room: Room, bytes: usize) -> Room {
        let kilobytes = room.kilobytes() + bytes.div_ceil(1024);
        drop(room);
        self.room(key, kilobytes.min(self.share) * 1024).await
    }

    fn share_of(&self, key: Principal) -> Arc<Semaphore> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(keys.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }
}

impl Room {
    /// Gives back what is more than so many bytes: images take less than they did as base64.
    pub(in crate::http) fn keep(mut self, bytes: usize) -> Self {
        if let Some(Permits { of_all, of_key }) = &mut self.0 {
            for permit in [of_all, of_key] {
                drop(permit.split(permit.num_permits().saturating_sub(bytes.div_ceil(1024))));
            }
        }
        self
    }

    fn kilobytes(&self) -> usize {
        self.0.as_ref().map_or(0, |permits| permits.of_all.num_permits())
    }

    pub(in crate::http) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ME: Principal = Principal::new([1; 32]);
    const OTHER: Principal = Principal::new([2; 32]);
    const MB: usize = 1024 * 1024;

    #[test]
    fn room_that_is_not_needed_is_given_back() {
        let memory = BodyMemory::new(1, 1);
        let free = || memory.all.available_permits();
        let room = memory.room(ME, 800 * 1024).now_or_never().expect("room").keep(100 * 1024 - 1);
        assert_eq!(free(), 924);
        let room = room.keep(500 * 1024);
        assert_eq!((free(), memory.share_of(ME).available_permits()), (924, 924));
        drop(room);
        assert_eq!((free(), memory.share_of(ME).available_permits()), (1024, 1024));
    }

    #[test]
    fn room_is_enlarged_up_to_the_share_of_a_key() {
        let memory = BodyMemory::new(4, 1);
        let room = memory.room(ME, MB).now_or_never().expect("room");
        let room = memory.enlarge(ME, room, MB / 2).now_or_never().expect("more room");
        assert_eq!(room.kilobytes(), 1536);
        let room = memory.enlarge(ME, room, 5 * MB).now_or_never().expect("its share");
        assert_eq!((room.kilobytes(), memory.all.available_permits()), (2048, 2048));
    }

    #[test]
    fn one_key_leaves_room_for_others() {
        let memory = BodyMemory::new(4, 1);
        let rooms = [0, 1].map(|_| memory.room(ME, MB).now_or_never().expect("its share"));
        assert!(memory.room(ME, MB).now_or_never().is_none(), "and no more");
        assert!(memory.room(OTHER, MB).now_or_never().is_some());
        drop(rooms);
        assert!(memory.room(ME, MB).now_or_never().is_some());
    }
}

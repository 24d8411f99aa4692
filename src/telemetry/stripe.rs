//! Per-thread counters, because cores that count in the same place
//! wait for each other's caches. Whoever looks adds the copies up.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::available_parallelism,
};

/// More threads than this share copies.
const MOST: usize = 32;

pub(super) struct Striped<T>(Box<[Apart<T>]>);

/// On cache lines of its own. Two, for processors fetch the next one, too.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Striped<T> {
    pub(super) fn new(make: impl Fn() -> T) -> Self {
        // For each core one thread serves, and another is at work behind the scenes.
        let copies = available_parallelism().map_or(MOST, |cores| 2 * cores.get()).min(MOST);
        Self((0..copies).map(|_| Apart(make())).collect())
    }

    /// This thread's copy.
    pub(super) fn mine(&self) -> &T {
        &self.0[place() % self.0.len()].0
    }

    /// All copies, this thread's first.
    pub(super) fn mine_first(&self) -> impl Iterator<Item = &T> {
        let (before, after) = self.0.split_at(place() % self.0.len());
        after.iter().chain(before).map(|Apart(copy)| copy)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(copy)| copy)
    }
}

/// Threads are numbered as they come.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed);
    }
    // A thread that is ending has lost its number, and any copy will do.
    MINE.try_with(|mine| *mine).unwrap_or(0)
}

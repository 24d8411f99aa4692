//! A few named things that are only ever added, found without a lock.

use std::sync::OnceLock;

use crate::telemetry::labels::OTHER_MODEL;

/// As many names as become labels; more are counted together.
const NAMES: usize = 128;

pub(super) struct Table<T> {
    places: Box<[OnceLock<Entry<T>>]>,
    /// For those that found no room.
    rest: Entry<T>,
}

struct Entry<T> {
    name: Box<str>,
    value: T,
}

impl<T: Default> Table<T> {
    pub(super) fn new() -> Self {
        let places = (0..NAMES).map(|_| OnceLock::new()).collect();
        Self { places, rest: Entry::new(OTHER_MODEL) }
    }

    /// The value of this name, made when there is none.
    pub(super) fn entry(&self, name: &str) -> &T {
        for place in &self.places {
            // The first thread to reach a free place gets it; others then look at its entry.
            let entry = place.get_or_init(|| Entry::new(name));
            if *entry.name == *name {
                return &entry.value;
            }
        }
        &self.rest.value
    }

    /// By name.
    pub(super) fn list(&self) -> Vec<(&str, &T)> {
        let full = self.places.iter().all(|place| place.get().is_some());
        let entries = self.places.iter().filter_map(OnceLock::get).chain(full.then_some(&self.rest));
        let mut list: Vec<(&str, &T)> = entries.map(|entry| (&*entry.name, &entry.value)).collect();
        list.sort_unstable_by_key(|(name, _)| *name);
        list
    }
}

impl<T: Default> Entry<T> {
    fn new(name: &str) -> Self {
        Self { name: name.into(), value: T::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn names_are_bounded_and_each_is_there_once() {
        let table = Table::<AtomicU64>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..NAMES + 50 {
                        table.entry(&format!("model-{n}")).fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let list = table.list();
        assert_eq!(list.len(), NAMES + 1);
        let counted =
            |name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, n)| n.load(Relaxed));
        assert_eq!(list.iter().map(|(_, n)| n.load(Relaxed)).sum::<u64>(), 4 * (NAMES as u64 + 50));
        assert_eq!(counted("other"), Some(200));
    }
}

//! Keys that the file may hold, so that a question which was never asked before costs no access to
//! the disk: a Bloom filter, which may say yes in vain and never says no in error. It knows nothing
//! of the file; the writer adds every key before it is in there.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fastbloom::AtomicBloomFilter;

/// Hash of a key, without its type: hashes of two types are never the same.
pub(super) type Hash = [u8; 32];

/// Bits for each key that there is room for.
const BITS_PER_KEY: u64 = 10;

/// Bits that a key sets. With ten bits for each key a full filter is wrong once in a hundred times,
/// (1 - e^(-4/10))^4, and one that is half full once in a thousand.
const BITS_SET: u32 = 4;

/// The least number of keys to make room for: 40 KB. Few in tests, which are to see one filled.
const MIN_CAPACITY: u64 = if cfg!(test) { 1 << 10 } else { 1 << 15 };

/// The most bits: 64 MB, for 50 million keys. With more of them it only says yes in vain more often.
const MAX_BITS: u64 = 1 << 29;

pub(super) struct Filter {
    bits: AtomicBloomFilter,
    room: u64,
    keys: AtomicU64,
}

/// The filter in use, and the one that will follow it. A key that has left the file stays in a
/// filter, so each is full in the end; the next one is then filled from the file.
#[derive(Default)]
pub(super) struct Filters {
    current: Option<Arc<Filter>>,
    next: Option<Next>,
}

/// A filter that is being filled, in the order of the hashes.
struct Next {
    filter: Arc<Filter>,
    /// The last hash that was read; those after it are still to be read.
    after: Vec<u8>,
}

impl Filter {
    /// Room for twice as many keys as there are.
    fn for_twice(keys: u64) -> Self {
        let room = keys.saturating_mul(2).max(MIN_CAPACITY);
        let bits = room.saturating_mul(BITS_PER_KEY).min(MAX_BITS);
        let bits = AtomicBloomFilter::with_num_bits(bits as usize).hashes(BITS_SET);
        Self { bits, room, keys: AtomicU64::new(0) }
    }

    fn add(&self, hash: &Hash) {
        if !self.bits.insert_hash(number(hash)) {
            self.keys.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn may_have(&self, hash: &Hash) -> bool {
        self.bits.contains_hash(number(hash))
    }

    fn is_full(&self) -> bool {
        self.keys.load(Ordering::Relaxed) >= self.room
    }
}

/// A part of the hash: it is random already, and need not be hashed again.
fn number([a, b, c, d, e, f, g, h, ..]: &Hash) -> u64 {
    u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
}

impl Filters {
    /// For a file that holds `keys`. With any in it nothing is known of it before it has been read.
    pub(super) fn of_file(keys: u64) -> Self {
        let current = (keys == 0).then(|| Arc::new(Filter::for_twice(0)));
        Self { current, next: None }
    }

    /// None while everything may be in the file.
    pub(super) fn current(&self) -> Option<&Arc<Filter>> {
        self.current.as_ref()
    }

    /// To be told of a key before it is written.
    pub(super) fn add(&self, hash: &Hash) {
        let next = self.next.iter().map(|next| &next.filter);
        self.current.iter().chain(next).for_each(|filter| filter.add(hash));
    }

    /// Whether the file has to be read for the next filter.
    pub(super) fn are_wanting(&self) -> bool {
        self.next.is_some() || self.current.as_ref().is_none_or(|filter| filter.is_full())
    }

    /// After which hash the file is to be read, which holds `keys` now.
    pub(super) fn read_after(&mut self, keys: u64) -> &[u8] {
        let first = || Next { filter: Arc::new(Filter::for_twice(keys)), after: Vec::new() };
        &self.next.get_or_insert_with(first).after
    }

    /// Takes the hashes that follow; when there are none, the next filter comes into use.
    pub(super) fn have_read(&mut self, hashes: &[Hash]) {
        let Some(mut next) = self.next.take() else { return };
        hashes.iter().for_each(|hash| next.filter.add(hash));
        match hashes.last() {
            Some(last) => {
                next.after = last.to_vec();
                self.next = Some(next);
            }
            None => self.current = Some(next.filter),
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn hash(number: u64) -> Hash {
        Sha256::digest(number.to_le_bytes()).into()
    }

    #[test]
    fn what_was_added_is_there_and_hardly_anything_else() {
        let filter = Filter::for_twice(25_000);
        for number in 0..50_000 {
            assert!(!filter.is_full(), "{number}");
            filter.add(&hash(number));
            filter.add(&hash(number / 2));
        }
        assert!((0..50_000).all(|number| filter.may_have(&hash(number))));
        let in_vain = (50_000..150_000).filter(|number| filter.may_have(&hash(*number))).count();
        assert!((500..2_000).contains(&in_vain), "{in_vain} in 100,000");
        (50_000..52_000).for_each(|number| filter.add(&hash(number)));
        assert!(filter.is_full());
    }

    #[test]
    fn the_next_one_has_what_was_read_and_what_came_meanwhile() {
        let mut filters = Filters::of_file(3);
        assert!(filters.current().is_none() && filters.are_wanting());
        assert!(filters.read_after(3).is_empty());
        filters.have_read(&[hash(1), hash(2)]);
        filters.add(&hash(3));
        assert!(filters.current().is_none(), "there is more to read");
        assert_eq!(filters.read_after(3), hash(2));
        filters.have_read(&[]);
        assert!(!filters.are_wanting());
        filters.add(&hash(4));
        let current = filters.current().expect("all has been read");
        assert!((1..=4).all(|number| current.may_have(&hash(number))));
        assert!(!current.may_have(&hash(5)));
    }

    #[test]
    fn a_full_one_is_followed_and_forgets_what_has_left() {
        let mut filters = Filters::of_file(0);
        (0..=2 * MIN_CAPACITY).for_each(|number| filters.add(&hash(number)));
        assert!(filters.are_wanting());
        filters.read_after(1);
        assert!(filters.current().expect("until then").may_have(&hash(0)));
        filters.have_read(&[hash(7)]);
        filters.have_read(&[]);
        let current = filters.current().expect("the next");
        assert!(current.may_have(&hash(7)) && !current.may_have(&hash(0)));
    }
}

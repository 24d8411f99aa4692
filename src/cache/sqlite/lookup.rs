//! Parts of the statements that look entries up by their keys.

use crate::cache::store::CacheKey;

/// Whether a row of `entry` is there.
pub(super) const IS_CURRENT: &str = "era = (SELECT number FROM era WHERE era.kind = entry.kind)";

/// How many keys one query asks for. Few sizes, so that few statements have to be prepared; a
/// smaller batch repeats its last key.
pub(super) const QUERY_SIZES: [usize; 4] = [1, 16, 128, 1024];

fn query_size(keys: &[CacheKey]) -> usize {
    QUERY_SIZES.into_iter().find(|size| *size >= keys.len()).unwrap_or(keys.len())
}

/// Placeholders for the hashes of these keys, after the first `others`.
pub(super) fn placeholders(others: usize, keys: &[CacheKey]) -> String {
    let numbers = others + 1..=others + query_size(keys);
    numbers.map(|number| format!("?{number}")).collect::<Vec<_>>().join(",")
}

/// The hashes of these keys, the last one repeated up to the size of the query.
pub(super) fn padded(keys: &[CacheKey]) -> impl Iterator<Item = &[u8]> {
    let last = keys.last().into_iter().cycle();
    keys.iter().chain(last).take(query_size(keys)).map(|key| &key.hash[..])
}

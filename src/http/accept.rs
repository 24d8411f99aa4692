//! Preferences of a client, in `Accept` and its like (RFC 9110, 12.5).

/// Weight of a name in such a list, from 0 (not accepted) to 1; none when the list does not have it.
pub(super) fn weight(accept: &str, range: &str) -> Option<f32> {
    let weights = accept.split(',').filter_map(|named| {
        let mut parts = named.split(';').map(str::trim);
        let is_meant = parts.next()?.eq_ignore_ascii_case(range);
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('=')?.parse().ok());
        is_meant.then(|| weight.unwrap_or(1.0))
    });
    // The same type may be named in several versions.
    weights.reduce(f32::max)
}

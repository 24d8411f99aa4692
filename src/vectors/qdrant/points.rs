//! Points of Qdrant: their ids, their payloads, and the filters by which versions are told apart.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter, Match, PointId, Range, RepeatedStrings, Value, r#match::MatchValue,
    point_id::PointIdOptions, value::Kind,
};
use sha2::{Digest, Sha256};

use super::failure::{Failure, Fault, Outcome};

pub(super) type Payload = HashMap<String, Value>;

/// Version of the collection in which a point came.
pub(super) const BORN: &str = "born";
/// Version in which it went; missing while it is there.
pub(super) const DIED: &str = "died";
/// Id of its document.
pub(super) const DOCUMENT: &str = "document";

/// Ids are UUIDs, so that they may be as long as they need.
pub(super) fn point_id(id: u128) -> PointId {
    let hex = format!("{id:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    PointId { point_id_options: Some(PointIdOptions::Uuid(parts.join("-"))) }
}

pub(super) fn id_of(id: Option<&PointId>) -> Outcome<u128> {
    let found = match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Uuid(text)) => u128::from_str_radix(&text.replace('-', ""), 16).ok(),
        _ => None,
    };
    found.ok_or_else(|| damaged("a point's id is no UUID"))
}

/// The first 64 bits of a hash of these parts, of which none can run into the next.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

pub(super) fn payload<const N: usize>(fields: [(&str, Value); N]) -> Payload {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn text<'a>(payload: &'a Payload, name: &str) -> Outcome<&'a str> {
    optional_text(payload, name).ok_or_else(|| damaged(&format!("a point has no {name}")))
}

pub(super) fn optional_text<'a>(payload: &'a Payload, name: &str) -> Option<&'a str> {
    match payload.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(super) fn whole(payload: &Payload, name: &str) -> Outcome<i64> {
    optional_whole(payload, name).ok_or_else(|| damaged(&format!("a point has no {name}")))
}

pub(super) fn optional_whole(payload: &Payload, name: &str) -> Option<i64> {
    match payload.get(name)?.kind.as_ref()? {
        Kind::IntegerValue(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn count(payload: &Payload, name: &str) -> Outcome<u64> {
    u64::try_from(whole(payload, name)?).map_err(|_| damaged(&format!("{name} is negative")))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn damaged(said: &str) -> Failure {
    Failure::Qdrant(Fault::Damaged, said.to_owned())
}

pub(super) fn is(field: &str, value: &str) -> Condition {
    matches(field, MatchValue::Keyword(value.to_owned()))
}

pub(super) fn is_any(field: &str, strings: Vec<String>) -> Condition {
    matches(field, MatchValue::Keywords(RepeatedStrings { strings }))
}

fn matches(field: &str, value: MatchValue) -> Condition {
    let r#match = Some(Match { match_value: Some(value) });
    FieldCondition { key: field.to_owned(), r#match, ..FieldCondition::default() }.into()
}

pub(super) fn within(field: &str, range: Range) -> Condition {
    FieldCondition { key: field.to_owned(), range: Some(range), ..FieldCondition::default() }.into()
}

/// In a version or before it.
pub(super) fn until(field: &str, version: i64) -> Condition {
    within(field, Range { lte: Some(float(version)), ..Range::default() })
}

pub(super) fn after(field: &str, version: i64) -> Condition {
    within(field, Range { gt: Some(float(version)), ..Range::default() })
}

/// Points that are there in a version.
pub(super) fn live(version: i64) -> Filter {
    Filter { must: vec![until(BORN, version)], must_not: vec![until(DIED, version)], ..Filter::default() }
}

/// Qdrant compares numbers as floats.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and the nearest one beyond")]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_back() {
        let id = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        let Some(PointIdOptions::Uuid(text)) = point_id(id).point_id_options else { panic!("no UUID") };
        assert_eq!(text, "01234567-89ab-cdef-0011-223344556677");
        assert!(id_of(Some(&point_id(id))).is_ok_and(|back| back == id));
        assert!(id_of(None).is_err());
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}

//! Metadata of documents and chunks: what is allowed, what a hit shows, and the facts that filters are about.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use crate::error::{Error, FieldError, Result};

/// A JSON object.
pub type Metadata = Map<String, Value>;

/// Fields of each hit that the offsets of its chunk set.
pub const OFFSETS: [&str; 4] = ["chunk_index", "char_start", "char_end", "chunk_length"];

const MAX_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 8;

/// Checks a caller's metadata.
///
/// # Errors
/// `Invalid`, with pointers that begin with `/metadata`.
pub fn check(metadata: &Metadata) -> Result<()> {
    let reserved: Vec<FieldError> = OFFSETS
        .iter()
        .filter(|name| metadata.contains_key(**name))
        .map(|name| FieldError::new(format!("/metadata/{name}"), "is set by the server; use another name"))
        .collect();
    if !reserved.is_empty() {
        return Err(Error::fields(reserved));
    }
    if let Some(name) = library_name(metadata) {
        return Err(Error::field("/metadata", format!("must not use the name {name:?}")));
    }
    if metadata.values().any(|value| !is_within(value, MAX_DEPTH - 1)) {
        return Err(Error::field("/metadata", format!("must not be nested deeper than {MAX_DEPTH} levels")));
    }
    let bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_BYTES {
        let detail =
            format!("must not have more than {} kB of JSON, and has {}", MAX_BYTES / 1024, bytes / 1024);
        return Err(Error::field("/metadata", detail));
    }
    Ok(())
}

/// A name to which serde_json gives a meaning of its own when the metadata is read again.
fn library_name(metadata: &Metadata) -> Option<&str> {
    metadata.iter().find_map(|(name, value)| {
        name.starts_with("$serde_json::").then_some(&**name).or(library_name_in(value))
    })
}

fn library_name_in(value: &Value) -> Option<&str> {
    match value {
        Value::Array(values) => values.iter().find_map(library_name_in),
        Value::Object(fields) => library_name(fields),
        _ => None,
    }
}

fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => depth > 0 && values.iter().all(|value| is_within(value, depth - 1)),
        Value::Object(fields) => depth > 0 && fields.values().all(|value| is_within(value, depth - 1)),
        _ => true,
    }
}

/// The document's metadata as hits show it: its title, when it has one, is a field of it.
pub fn of_document(metadata: &Metadata, title: Option<&str>) -> Metadata {
    let mut shown = metadata.clone();
    if let Some(title) = title {
        shown.insert("title".to_owned(), title.into());
    }
    shown
}

/// Metadata of a hit. A chunk's field replaces the document's of the same name.
pub fn of_hit(mut document: Metadata, chunk: Metadata, index: u64, start: u64, end: u64) -> Metadata {
    document.extend(chunk);
    let values = [index, start, end, end.saturating_sub(start)];
    document.extend(OFFSETS.map(str::to_owned).into_iter().zip(values.map(Value::from)));
    document
}

/// A value of metadata that a filter can be about.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Bool(bool),
    /// Whole numbers are exact in 64 bits.
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => {
                number.as_i64().map(Self::Integer).or_else(|| number.as_f64().map(Self::Float))
            }
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// The scalars in metadata, each with its path: names of nested objects are joined by dots, and every item of
/// a list is a value of its own. A name with a dot in it is the same path as nested names.
pub fn facts(metadata: &Metadata) -> Vec<(String, Scalar)> {
    let mut facts = Vec::new();
    for (name, value) in metadata {
        collect(name.clone(), value, &mut facts);
    }
    facts
}

fn collect(path: String, value: &Value, facts: &mut Vec<(String, Scalar)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(path.clone(), value, facts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(format!("{path}.{name}"), value, facts);
            }
        }
        value => facts.extend(Scalar::of(value).map(|scalar| (path, scalar))),
    }
}

/// Microseconds since 1970 of a text that is a date, or a date and a time; without a time zone it is UTC.
pub fn instant(text: &str) -> Option<i64> {
    // Anything else is found out without parsing.
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !(10..=40).contains(&text.len()) {
        return None;
    }
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(timestamp.as_microsecond())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Metadata {
        match value {
            Value::Object(fields) => fields,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn reserved_names_and_large_or_deep_metadata_are_refused() {
        let mut deep = json!(1);
        for _ in 0..8 {
            deep = json!({ "a": deep });
        }
        check(&object(deep.clone())).expect("eight levels");
        for (metadata, pointer) in [
            (json!({"chunk_index": 1, "a": 2}), "/metadata/chunk_index"),
            (json!({"a": deep}), "/metadata"),
            (json!({"a": "x".repeat(1 << 20)}), "/metadata"),
        ] {
            let error = check(&object(metadata)).expect_err(pointer);
            assert_eq!(error.field_errors()[0].pointer, pointer);
        }
        check(&object(json!({"": 1, "a/b": null, "title": "own", "'; DROP TABLE chunk": []})))
            .expect("odd names");
    }

    #[test]
    fn facts_are_scalars_by_their_paths() {
        let metadata = object(json!({
            "a": {"b": [1, "x", {"c": true}], "d": null}, "e": 1.5, "f": [], "g": 18_446_744_073_709_551_615_u64
        }));
        let facts = facts(&metadata);
        let expected = [
            ("a.b", Scalar::Integer(1)),
            ("a.b", Scalar::Text("x".to_owned())),
            ("a.b.c", Scalar::Bool(true)),
            ("e", Scalar::Float(1.5)),
            ("g", Scalar::Float(18_446_744_073_709_551_615.0)),
        ];
        assert_eq!(facts, expected.map(|(path, value)| (path.to_owned(), value)));
    }

    #[test]
    fn dates_are_points_in_time() {
        let day = instant("2024-05-01").expect("a date");
        assert_eq!(instant("2024-05-01T00:00:00Z"), Some(day));
        assert_eq!(instant("2024-05-01T02:00:00+02:00"), Some(day));
        assert_eq!(instant("2024-05-01T00:00:01"), Some(day + 1_000_000));
        for text in ["", "2024", "tomorrow", "1234567890", "2024-13-01", "2024-05-01 or so"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_hit_has_the_chunks_own_fields_before_the_documents() {
        let document = of_document(&object(json!({"page": 9, "title": "old"})), Some("new"));
        let hit = of_hit(document, object(json!({"page": 2})), 3, 10, 25);
        let expected = json!({"page": 2, "title": "new", "chunk_index": 3, "char_start": 10, "char_end": 25, "chunk_length": 15});
        assert_eq!(Value::Object(hit), expected);
    }
}

//! Facts of metadata in the payload of points, and filters as conditions on them. A fact is a hash of its path, its
//! kind and its value, so that neither names nor values have to suit Qdrant; bounds need the value itself.

use qdrant_client::qdrant::{Condition, Filter as QdrantFilter, NestedCondition, Range, Value};

use super::{
    super::{
        filter::{Bound, Condition as Wanted, Filter},
        metadata::{Metadata, Scalar, facts, instant},
    },
    points::{float, hash, is, is_any, within},
};

/// Hashes of all facts.
pub(super) const FACTS: &str = "facts";
/// Numbers and times, each with the hash of its path.
pub(super) const RANGES: &str = "ranges";
pub(super) const RANGE_PATH: &str = "ranges[].path";
pub(super) const RANGE_VALUE: &str = "ranges[].value";

/// Facts of a chunk, as two fields of a payload.
#[derive(Clone, Default)]
pub(super) struct Facts {
    tokens: Vec<String>,
    ranges: Vec<Value>,
}

impl Facts {
    pub(super) fn add(&mut self, metadata: &Metadata) {
        for (path, scalar) in facts(metadata) {
            self.tokens.push(exists(&path));
            self.tokens.push(equals(&path, &scalar));
            match &scalar {
                Scalar::Integer(value) => self.add_range(number(&path), float(*value)),
                Scalar::Float(value) => self.add_range(number(&path), *value),
                Scalar::Text(text) if let Some(time) = instant(text) => {
                    self.add_range(time_of(&path), float(time));
                }
                Scalar::Bool(_) | Scalar::Text(_) => {}
            }
        }
    }

    fn add_range(&mut self, path: String, value: f64) {
        let range: Vec<(&str, Value)> = vec![("path", path.into()), ("value", value.into())];
        self.ranges.push(range.into());
    }

    /// Bytes in a message, about.
    pub(super) fn bytes(&self) -> usize {
        40 * self.tokens.len() + 80 * self.ranges.len()
    }

    pub(super) fn into_fields(mut self) -> [(&'static str, Value); 2] {
        self.tokens.sort_unstable();
        self.tokens.dedup();
        [(FACTS, self.tokens.into()), (RANGES, self.ranges.into())]
    }
}

fn exists(path: &str) -> String {
    token(path, b"exists", &[])
}

fn equals(path: &str, scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(value) => token(path, b"bool", &[u8::from(*value)]),
        Scalar::Integer(value) => token(path, b"integer", &value.to_le_bytes()),
        Scalar::Float(value) => match as_integer(*value) {
            Some(value) => equals(path, &Scalar::Integer(value)),
            None => token(path, b"float", &value.to_le_bytes()),
        },
        Scalar::Text(value) => token(path, b"text", value.as_bytes()),
    }
}

/// The whole number that a float is equal to.
fn as_integer(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within its bounds")]
    (value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

fn number(path: &str) -> String {
    token(path, b"number", &[])
}

fn time_of(path: &str) -> String {
    token(path, b"time", &[])
}

fn token(path: &str, kind: &[u8], value: &[u8]) -> String {
    let path = path.as_bytes();
    // Two hashes of 64 bits, so that no two facts have the same.
    format!("{:016x}{:016x}", hash(&[path, kind, value]), hash(&[kind, path, value]))
}

pub(super) fn condition(filter: &Filter) -> Condition {
    match filter {
        Filter::And(filters) => QdrantFilter::must(filters.iter().map(condition)).into(),
        Filter::Or(filters) => QdrantFilter::should(filters.iter().map(condition)).into(),
        Filter::Not(filter) => QdrantFilter::must_not([condition(filter)]).into(),
        Filter::Field { path, condition } => match condition {
            Wanted::Exists(true) => is(FACTS, &exists(path)),
            Wanted::Exists(false) => QdrantFilter::must_not([is(FACTS, &exists(path))]).into(),
            // No fact is equal to the empty text.
            Wanted::In(values) if values.is_empty() => is(FACTS, ""),
            Wanted::In(values) => is_any(FACTS, values.iter().map(|value| equals(path, value)).collect()),
            Wanted::Numbers(bounds) => {
                let bounds = bounds.iter().map(|(bound, scalar)| {
                    let value = match scalar {
                        Scalar::Integer(value) => float(*value),
                        Scalar::Float(value) => *value,
                        Scalar::Bool(_) | Scalar::Text(_) => f64::NAN,
                    };
                    (*bound, value)
                });
                in_range(number(path), bounds)
            }
            Wanted::Times(bounds) => {
                in_range(time_of(path), bounds.iter().map(|(bound, time)| (*bound, float(*time))))
            }
        },
    }
}

fn in_range(path: String, bounds: impl Iterator<Item = (Bound, f64)>) -> Condition {
    let mut range = Range::default();
    for (bound, value) in bounds {
        let slot = match bound {
            Bound::Gt => &mut range.gt,
            Bound::Gte => &mut range.gte,
            Bound::Lt => &mut range.lt,
            Bound::Lte => &mut range.lte,
        };
        *slot = Some(value);
    }
    let both = QdrantFilter::must([is("path", &path), within("value", range)]);
    NestedCondition { key: RANGES.to_owned(), filter: Some(both) }.into()
}

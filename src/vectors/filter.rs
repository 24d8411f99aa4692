//! Filters over the metadata of documents and chunks, from the JSON of a request:
//!
//! - `{"field": value}`: the field equals a text, a number or a boolean; a list has an item that does. Several fields
//!   in one object must all match, and `{}` matches everything.
//! - `{"field": {"in": [1, 2]}}`: it equals one of them.
//! - `{"field": {"gt": 1, "lte": 5}}` (`gt`, `gte`, `lt`, `lte`): it is a number within the bounds, or a date, when
//!   they are texts such as `2024-05-01` or `2024-05-01T12:00:00Z`.
//! - `{"field": {"exists": true}}`: it has a value; null and an empty list or object are none.
//! - `{"and": [filter, …]}`, `{"or": [filter, …]}`, `{"not": filter}`.
//!
//! `a.b` names a field of a nested object. A field is looked for in the document's metadata and in the chunk's, where
//! `chunk_index`, `char_start`, `char_end` and `chunk_length` are, too.

use serde_json::{Map, Value};

use super::metadata::{Scalar, instant};
use crate::error::{Error, Result};

const MAX_DEPTH: usize = 8;
const MAX_CONDITIONS: usize = 64;
const MAX_VALUES: usize = 256;
const MAX_TEXT_BYTES: usize = 1024;

const OPERATORS: &str = "in, gt, gte, lt, lte or exists";

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Field { path: String, condition: Condition },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// Numbers within all of these bounds.
    Numbers(Vec<(Bound, Scalar)>),
    /// Points in time within all of these bounds, in microseconds since 1970.
    Times(Vec<(Bound, i64)>),
    Exists(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Bound {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            _ => return None,
        })
    }
}

impl Filter {
    /// # Errors
    /// `Invalid`, with a pointer that begins with `/filter`.
    pub fn parse(json: &Value) -> Result<Self> {
        Parser { conditions: 0 }.filter(json, "/filter", 0)
    }
}

struct Parser {
    /// So far.
    conditions: usize,
}

impl Parser {
    fn filter(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Filter> {
        if depth > MAX_DEPTH {
            return Err(refuse(pointer, format!("must not be nested deeper than {MAX_DEPTH} levels")));
        }
        let Value::Object(fields) = json else {
            return Err(refuse(pointer, "must be an object, such as {\"field\": \"value\"}"));
        };
        let mut all = Vec::with_capacity(fields.len().min(MAX_CONDITIONS));
        for (name, value) in fields {
            let pointer = below(pointer, name);
            self.conditions += 1;
            if self.conditions > MAX_CONDITIONS {
                return Err(refuse(
                    "/filter",
                    format!("must not have more than {MAX_CONDITIONS} conditions"),
                ));
            }
            all.push(match name.as_str() {
                "and" => Filter::And(self.filters(value, &pointer, depth + 1)?),
                "or" => Filter::Or(self.filters(value, &pointer, depth + 1)?),
                "not" => Filter::Not(Box::new(self.filter(value, &pointer, depth + 1)?)),
                path if path.len() > MAX_TEXT_BYTES => {
                    let detail = format!("must not name fields of more than {MAX_TEXT_BYTES} bytes");
                    return Err(refuse("/filter", detail));
                }
                path => Filter::Field { path: path.to_owned(), condition: condition(value, &pointer)? },
            });
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn filters(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Vec<Filter>> {
        let Value::Array(filters) = json else { return Err(refuse(pointer, "must be a list of filters")) };
        if filters.is_empty() {
            return Err(refuse(pointer, "must have at least one filter"));
        }
        let filters = filters.iter().enumerate();
        filters.map(|(at, filter)| self.filter(filter, &format!("{pointer}/{at}"), depth)).collect()
    }
}

fn condition(json: &Value, pointer: &str) -> Result<Condition> {
    match json {
        Value::Object(operators) => operation(operators, pointer),
        Value::Array(_) => {
            Err(refuse(pointer, "must not be a list; use {\"in\": […]} for any of several values"))
        }
        value => Ok(Condition::In(vec![scalar(value, pointer)?])),
    }
}

fn operation(operators: &Map<String, Value>, pointer: &str) -> Result<Condition> {
    if let Some(unknown) =
        operators.keys().find(|name| !matches!(name.as_str(), "in" | "exists") && Bound::of(name).is_none())
    {
        return Err(refuse(&below(pointer, unknown), format!("must be {OPERATORS}")));
    }
    match (operators.get("in"), operators.get("exists"), operators.len()) {
        (Some(values), None, 1) => any_of(values, &below(pointer, "in")),
        (None, Some(Value::Bool(exists)), 1) => Ok(Condition::Exists(*exists)),
        (None, Some(_), 1) => Err(refuse(&below(pointer, "exists"), "must be true or false")),
        (None, None, 1..) => range(operators, pointer),
        (_, _, 0) => Err(refuse(pointer, format!("must have {OPERATORS}"))),
        _ => Err(refuse(pointer, "must have in or exists alone; combine conditions with {\"and\": […]}")),
    }
}

fn any_of(json: &Value, pointer: &str) -> Result<Condition> {
    let Value::Array(values) = json else { return Err(refuse(pointer, "must be a list")) };
    if values.len() > MAX_VALUES {
        return Err(refuse(pointer, format!("must not have more than {MAX_VALUES} values")));
    }
    let values = values.iter().enumerate();
    let scalars: Result<_> = values.map(|(at, value)| scalar(value, &format!("{pointer}/{at}"))).collect();
    Ok(Condition::In(scalars?))
}

fn range(operators: &Map<String, Value>, pointer: &str) -> Result<Condition> {
    let (mut numbers, mut times) = (Vec::new(), Vec::new());
    for (name, value) in operators {
        let pointer = below(pointer, name);
        let Some(bound) = Bound::of(name) else { continue };
        match (value, Scalar::of(value)) {
            (Value::Number(_), Some(number)) => numbers.push((bound, number)),
            (Value::String(text), _) if let Some(time) = instant(text) => times.push((bound, time)),
            _ => {
                return Err(refuse(
                    &pointer,
                    "must be a number, or a date such as 2024-05-01 or 2024-05-01T12:00:00Z",
                ));
            }
        }
    }
    match (numbers.is_empty(), times.is_empty()) {
        (false, true) => Ok(Condition::Numbers(numbers)),
        (true, false) => Ok(Condition::Times(times)),
        _ => Err(refuse(pointer, "must not mix numbers and dates")),
    }
}

fn scalar(json: &Value, pointer: &str) -> Result<Scalar> {
    match Scalar::of(json) {
        Some(Scalar::Text(text)) if text.len() > MAX_TEXT_BYTES => {
            Err(refuse(pointer, format!("must not have more than {MAX_TEXT_BYTES} bytes")))
        }
        Some(scalar) => Ok(scalar),
        None if json.is_null() => {
            Err(refuse(pointer, "must not be null; use {\"exists\": false} for a missing value"))
        }
        None => Err(refuse(pointer, "must be a text, a number or a boolean")),
    }
}

fn below(pointer: &str, name: &str) -> String {
    // A long name is refused anyway, and its beginning tells which one it is.
    let name: String = name.chars().take(64).collect();
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn refuse(pointer: &str, detail: impl Into<String>) -> Error {
    Error::field(pointer, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn field(path: &str, condition: Condition) -> Filter {
        Filter::Field { path: path.to_owned(), condition }
    }

    #[test]
    fn filters_of_the_contract_are_read() {
        let text = |text: &str| Scalar::Text(text.to_owned());
        for (json, expected) in [
            (json!({}), Filter::And(vec![])),
            (json!({"a": "x"}), field("a", Condition::In(vec![text("x")]))),
            (json!({"a.b": true}), field("a.b", Condition::In(vec![Scalar::Bool(true)]))),
            (
                json!({"a": 1, "b": 1.5}),
                Filter::And(vec![
                    field("a", Condition::In(vec![Scalar::Integer(1)])),
                    field("b", Condition::In(vec![Scalar::Float(1.5)])),
                ]),
            ),
            (json!({"a": {"in": []}}), field("a", Condition::In(vec![]))),
            (
                json!({"a": {"gt": 1, "lte": 5}}),
                field(
                    "a",
                    Condition::Numbers(vec![
                        (Bound::Gt, Scalar::Integer(1)),
                        (Bound::Lte, Scalar::Integer(5)),
                    ]),
                ),
            ),
            (
                json!({"a": {"gte": "1970-01-02"}}),
                field("a", Condition::Times(vec![(Bound::Gte, 86_400_000_000)])),
            ),
            (
                json!({"not": {"or": [{"a": {"exists": true}}]}}),
                Filter::Not(Box::new(Filter::Or(vec![field("a", Condition::Exists(true))]))),
            ),
        ] {
            assert_eq!(Filter::parse(&json).expect("a filter"), expected, "{json}");
        }
    }

    #[test]
    fn a_refusal_points_at_the_place() {
        let mut deep = json!({"a": 1});
        for _ in 0..9 {
            deep = json!({ "not": deep });
        }
        let deepest = "/filter".to_owned() + &"/not".repeat(9);
        let many: Vec<Value> = (0..65).map(|at| json!({"a": at})).collect();
        for (json, pointer) in [
            (json!("a"), "/filter"),
            (json!([{"a": 1}]), "/filter"),
            (json!({"a": null}), "/filter/a"),
            (json!({"a": [1]}), "/filter/a"),
            (json!({"a": {}}), "/filter/a"),
            (json!({"a": {"like": "x"}}), "/filter/a/like"),
            (json!({"a/b~": {"$ne": 1}}), "/filter/a~1b~0/$ne"),
            (json!({"a": {"in": 1}}), "/filter/a/in"),
            (json!({"a": {"in": [1, [2]]}}), "/filter/a/in/1"),
            (json!({"a": {"in": [1], "gt": 1}}), "/filter/a"),
            (json!({"a": {"in": vec![1; 257]}}), "/filter/a/in"),
            (json!({"a": {"gt": "x"}}), "/filter/a/gt"),
            (json!({"a": {"gt": 1, "lt": "2024-01-01"}}), "/filter/a"),
            (json!({"a": {"exists": 1}}), "/filter/a/exists"),
            (json!({"a": "x".repeat(1025)}), "/filter/a"),
            (json!({"a".repeat(1025): 1}), "/filter"),
            (json!({"and": {"a": 1}}), "/filter/and"),
            (json!({"or": []}), "/filter/or"),
            (json!({"or": [{"a": 1}, 2]}), "/filter/or/1"),
            (json!({"and": many}), "/filter"),
            (deep, deepest.as_str()),
        ] {
            let error = Filter::parse(&json).expect_err(pointer);
            assert_eq!(error.field_errors()[0].pointer, pointer, "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(text in r#"(\{|\}|\[|\]|"and"|"not"|"a"|:|,|1|null|"in"|"gt"){0,24}"#) {
            if let Ok(json) = serde_json::from_str::<Value>(&text) {
                // Neither panics.
                let _ = Filter::parse(&json);
            }
        }
    }
}

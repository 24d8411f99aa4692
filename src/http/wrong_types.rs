//! What is wrong with JSON that is well-formed and not of the right shape: every field that can be told
//! from the others, in words of ours instead of serde's. Of a query string, the first that is wrong.

use serde::{
    de::{DeserializeOwned, Deserializer, Visitor},
    forward_to_deserialize_any,
};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::error::{Error, FieldError, MAX_FIELDS};

/// A body whose fields have names: serde also takes a list of a struct's values in the order of their
/// declaration for the struct.
pub(super) struct Root<D>(pub(super) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Root<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Why `text` is no `T`: its first wrong field, or with `tree`, which is what it says, all of them. Each is
/// taken out of the tree and the rest looked at again.
pub(super) fn wrong_types<T: DeserializeOwned>(text: &[u8], mut tree: Option<Value>) -> Error {
    let mut wrong: Vec<FieldError> = Vec::new();
    while let Some(tree) = tree.as_mut().filter(|_| wrong.len() < MAX_FIELDS) {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(Root(&*tree)) else { break };
        let field = field_error(error.path(), &error.inner().to_string());
        // What may not be missing is missed once it, or something in it, has been taken out.
        if wrong.iter().any(|known| is_within(&known.pointer, &field.pointer)) {
            break;
        }
        let taken = take(tree, &field.pointer);
        wrong.push(field);
        if !taken {
            break;
        }
    }
    // A name that is there twice is so only in the text.
    let text = &mut serde_json::Deserializer::from_slice(text);
    if let (true, Err(error)) = (wrong.is_empty(), serde_path_to_error::deserialize::<_, T>(Root(text))) {
        wrong.push(field_error(error.path(), without_place(&error.inner().to_string())));
    }
    Error::fields(wrong)
}

pub(super) fn wrong_query(error: &serde_path_to_error::Error<serde_urlencoded::de::Error>) -> Error {
    Error::fields(vec![field_error(error.path(), &error.inner().to_string())])
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// serde_json adds where in the text it was, which the pointer says better.
fn without_place(text: &str) -> &str {
    match text.rsplit_once(" at line ") {
        Some((told, place)) if !place.contains(|c: char| !c.is_ascii_digit() && !" column".contains(c)) => {
            told
        }
        _ => text,
    }
}

/// Takes the field out, or the one whose list it stands in; false when there is none.
fn take(body: &mut Value, pointer: &str) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    match body.pointer_mut(parent) {
        Some(Value::Object(fields)) => fields.remove(&name).is_some(),
        _ => take(body, parent),
    }
}

fn field_error(path: &Path, text: &str) -> FieldError {
    let mut pointer = String::new();
    let mut push = |name: &str| pointer.extend(["/", &name.replace('~', "~0").replace('/', "~1")]);
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&index.to_string()),
            Segment::Map { key } => push(key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let named = |prefix| text.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix('`'));
    let detail = if let Some(name) = named("missing field `") {
        push(name);
        "is required".to_owned()
    } else if let Some(name) = named("duplicate field `") {
        push(name);
        "is given twice".to_owned()
    } else {
        plain(text)
    };
    let detail = if pointer.is_empty() { format!("The body {detail}") } else { detail };
    FieldError { pointer, detail }
}

/// `invalid type: string "a", expected i64` is `must be a whole number, not a string`. What is said in
/// other words is left as it is: it is ours.
fn plain(text: &str) -> String {
    // All of a query is text, and these are the standard library's words for what is no boolean.
    if text == "provided string was not `true` or `false`" {
        return "must be true or false".to_owned();
    }
    // What was found may be a text with anything in it; what was expected is ours.
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return text.to_owned() };
    let expected = match expected {
        "i64" | "u64" => "a whole number",
        "u32" => "a whole number from 0 to 4294967295",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "string or map" | "map with a single key" | "unit" => "a string",
        expected if expected.starts_with("struct ") => "an object",
        expected => expected,
    };
    let expected = expected.replace('`', "");
    let found = found.strip_prefix("invalid type: ").and_then(|found| found.split([' ', ',']).next());
    let found = match found {
        Some("string") => "a string",
        Some("boolean") => "true or false",
        Some("null") => "null",
        Some("sequence") => "a list",
        Some("map") => "an object",
        Some("integer" | "floating") if !expected.contains("number") => "a number",
        _ => return format!("must be {expected}"),
    };
    format!("must be {expected}, not {found}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Body {
        text: String,
        seed: Option<i64>,
        context: Option<Vec<u32>>,
        share: Option<f64>,
        plain: Option<bool>,
        level: Option<Level>,
        turns: Option<Vec<Turn>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Level {
        Brief,
        Long,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Turn {
        role: String,
    }

    fn wrong(body: Value) -> Error {
        wrong_types::<Body>(body.to_string().as_bytes(), Some(body))
    }

    fn told(body: Value) -> String {
        wrong(body).message().to_owned()
    }

    #[test]
    fn every_wrong_field_is_named_in_plain_words() {
        let body = json!({"text": 1, "context": [1, "a"], "seed": "a, expected b at line 4", "share": {}, "plain": 1, "level": "loud"});
        let wrong = wrong(body);
        let mut found: Vec<_> = wrong.field_errors().iter().map(|f| (&*f.pointer, &*f.detail)).collect();
        found.sort_unstable();
        let expected = [
            ("/context/1", "must be a whole number from 0 to 4294967295, not a string"),
            ("/level", "must be brief or long"),
            ("/plain", "must be true or false, not a number"),
            ("/seed", "must be a whole number, not a string"),
            ("/share", "must be a number, not an object"),
            ("/text", "must be a string, not a number"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_missing_is_required_and_a_body_is_an_object() {
        let negative = json!({"text": "", "context": [1, -1]});
        assert_eq!(told(negative), "context/1 must be a whole number from 0 to 4294967295.");
        assert_eq!(told(json!({})), "text is required.");
        assert_eq!(told(json!({"text": "", "turns": [{}]})), "turns/0/role is required.");
        assert_eq!(told(json!({"text": "", "turns": [5]})), "turns/0 must be an object, not a number.");
        assert_eq!(told(json!("x")), "The body must be an object, not a string.");
        assert_eq!(told(json!(["a"])), "The body must be an object, not a list.");
        assert_eq!(told(Value::Null), "The body must be an object, not null.");
        let twice = r#"{"text": "", "turns": [], "text": "a"}"#;
        assert_eq!(
            wrong_types::<Body>(twice.as_bytes(), serde_json::from_str(twice).ok()).message(),
            "text is given twice."
        );
        let list = json!({"text": "", "turns": [5, {"role": 6}]});
        assert_eq!(told(list), "turns/0 must be an object, not a number.");
    }

    #[test]
    fn without_a_tree_the_first_wrong_field_is_named() {
        let text = r#"{"seed": "a at line 4", "text": 1}"#;
        let error = wrong_types::<Body>(text.as_bytes(), None);
        assert_eq!(error.message(), "seed must be a whole number, not a string.");
    }
}

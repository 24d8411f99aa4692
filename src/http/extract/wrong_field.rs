//! Why a request cannot be read: the first field that is wrong, in words of ours instead of serde's.

use std::fmt::Display;

use serde_path_to_error::{Path, Segment};

use super::nearest;
use crate::error::{Error, FieldError};

/// Characters of a name that are shown, since a caller may send megabytes.
const SHOWN_CHARS: usize = 64;

pub(in crate::http) fn wrong_field<E: Display>(error: &serde_path_to_error::Error<E>) -> Error {
    Error::fields(vec![field_error(error.path(), without_place(&error.inner().to_string()))])
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

fn field_error(path: &Path, text: &str) -> FieldError {
    let mut pointer = String::new();
    for part in path {
        match part {
            Segment::Seq { index } => pointer += &segment(&index.to_string()),
            Segment::Map { key } => pointer += &segment(key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if text.starts_with("unknown field `") {
        return unknown_field(pointer, path, text);
    }
    let named = |prefix| text.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix('`'));
    let detail = if let Some(name) = named("missing field `") {
        pointer += &segment(name);
        "is required".to_owned()
    } else if let Some(name) = named("duplicate field `") {
        pointer += &segment(name);
        "is given twice".to_owned()
    } else {
        plain(text)
    };
    let detail = if pointer.is_empty() { format!("The body {detail}") } else { detail };
    FieldError::new(pointer, detail)
}

/// A name as a part of a pointer.
pub(in crate::http) fn segment(name: &str) -> String {
    let shown: String = name.chars().take(SHOWN_CHARS).collect();
    let rest = if shown.len() < name.len() { "…" } else { "" };
    format!("/{}{rest}", shown.replace('~', "~0").replace('/', "~1"))
}

/// `unknown field "x", expected one of "a", "b"`, in backticks. The name is the path's last.
fn unknown_field(pointer: String, path: &Path, text: &str) -> FieldError {
    let name = match path.iter().next_back() {
        Some(Segment::Map { key }) => key,
        _ => "",
    };
    // The unknown name may have anything in it; the known ones are ours, and come last.
    let known = text.rsplit_once(", expected ").map_or("", |(_, known)| known);
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    FieldError::unknown(pointer, nearest::unknown(name, &known, "field"))
}

/// `invalid type: string "a", expected i64` is `must be a whole number, not a string`. What is said in
/// other words is left as it is: it is ours.
fn plain(text: &str) -> String {
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
    // Of the words that may stand there: `one of` them, or the only one.
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
    use crate::http::extract::{
        object::{Object, Word},
        parse,
    };

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Body {
        text: String,
        seed: Option<i64>,
        context: Option<Vec<u32>>,
        share: Option<f64>,
        plain: Option<bool>,
        level: Option<Word<Level>>,
        turns: Option<Vec<Object<Turn>>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Level {
        Brief,
        Long,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Turn {
        role: String,
    }

    fn wrong(body: &str) -> Error {
        parse::<Body>(body.as_bytes()).err().expect(body)
    }

    #[test]
    fn the_first_wrong_field_is_named_in_plain_words() {
        for (body, message) in [
            (json!({"text": 1, "turns": 1}), "text must be a string, not a number."),
            (
                json!({"text": "", "context": [1, "a"]}),
                "context/1 must be a whole number from 0 to 4294967295, not a string.",
            ),
            (
                json!({"text": "", "context": [1, -1]}),
                "context/1 must be a whole number from 0 to 4294967295.",
            ),
            (
                json!({"text": "", "seed": "a, expected b at line 4"}),
                "seed must be a whole number, not a string.",
            ),
            (json!({"text": "", "share": {}}), "share must be a number, not an object."),
            (json!({"text": "", "plain": 1}), "plain must be true or false, not a number."),
            (json!({"text": "", "level": "loud"}), "level must be brief or long."),
            (json!({"text": "", "level": 1}), "level must be a string, not a number."),
            (json!({"text": "", "level": {"brief": null}}), "level must be a string, not an object."),
            (json!({}), "text is required."),
            (json!({"text": "", "turns": [{}]}), "turns/0/role is required."),
            (json!({"text": "", "turns": [5]}), "turns/0 must be an object, not a number."),
            (json!({"text": "", "turns": [["a"]]}), "turns/0 must be an object, not a list."),
            (json!("x"), "The body must be an object, not a string."),
            (json!(["a"]), "The body must be an object, not a list."),
            (json!(null), "The body must be an object, not null."),
        ] {
            assert_eq!(wrong(&body.to_string()).message(), message);
        }
        let twice = wrong(r#"{"text": "", "turns": [], "text": "a"}"#);
        assert_eq!(twice.message(), "text is given twice.");
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        for (body, pointer, detail) in [
            (json!({"contxt": 1}), "/contxt", "is unknown; the closest known field is context"),
            (json!({"turns": [{"rol": 1}]}), "/turns/0/rol", "is unknown; the closest known field is role"),
            (json!({"turns": [{"~/": 1}]}), "/turns/0/~0~1", "is unknown; the only known field is role"),
            (
                json!({"`, expected `seed`": 1}),
                "/`, expected `seed`",
                "is unknown; the known fields are text, seed, context, share, plain, level, turns",
            ),
        ] {
            let error = wrong(&body.to_string());
            let [field] = error.field_errors() else { panic!("{error:?}") };
            assert_eq!((&*field.pointer, &*field.detail), (pointer, detail));
            assert!(!error.summary().contains(pointer), "{}", error.summary());
        }
        let long = wrong(&json!({"x".repeat(1000): 1}).to_string());
        assert_eq!(long.field_errors()[0].pointer.len(), 1 + SHOWN_CHARS + "…".len());
    }
}

//! Checks of a schema as the caller sent it, each fault with its pointer: keywords of the wrong type,
//! contradictory bounds, unresolved references, and excessive sizes.

use super::{
    json::{Json, Object, segment},
    keywords::{HOLDERS, Holds, parts},
    pattern,
};
use crate::error::FieldError;

const MAX_SCHEMAS: usize = 2_000;
const MAX_PROPERTIES: usize = 256;
const MAX_ENUM: usize = 512;
const MAX_ALTERNATIVES: usize = 256;
/// llama.cpp's limit on repetitions (`MAX_REPETITION_THRESHOLD` in `llama-grammar.cpp`).
pub(super) const MAX_LENGTH: u64 = 2_000;
pub(super) const MAX_ITEMS: u64 = 1_000;

const TYPES: &[&str] = &["null", "boolean", "number", "integer", "string", "array", "object"];
const COUNTS: &[&str] = &[
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
];
const NUMBERS: &[&str] = &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const PAIRS: &[(&str, &str)] = &[
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minimum", "maximum"),
];
const MAX_VALUES: &[(&str, u64)] =
    &[("minLength", MAX_LENGTH), ("minItems", MAX_ITEMS), ("minContains", MAX_ITEMS)];

/// Faults of a schema at `pointer`.
pub(super) fn check(root: &Json, pointer: &str) -> Vec<FieldError> {
    let mut check = Check { root, faults: Vec::new(), schemas: 0 };
    check.schema(root, pointer);
    if check.schemas > MAX_SCHEMAS {
        check.refuse(pointer, format!("may contain at most {MAX_SCHEMAS} schemas"));
    }
    check.faults
}

struct Check<'a> {
    root: &'a Json,
    faults: Vec<FieldError>,
    schemas: usize,
}

impl Check<'_> {
    fn refuse(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(FieldError::new(pointer, detail));
    }

    fn schema(&mut self, schema: &Json, pointer: &str) {
        self.schemas += 1;
        if self.schemas > MAX_SCHEMAS || schema.as_bool().is_some() {
            return;
        }
        let Json::Object(object) = schema else {
            return self.refuse(pointer, "must be a JSON Schema: an object, true or false");
        };
        for (keyword, value) in object {
            if let Some(detail) = self.fault(keyword, value, std::ptr::eq(schema, self.root)) {
                self.refuse(format!("{pointer}{}", segment(keyword)), detail);
            }
        }
        self.patterns(object, pointer);
        self.bounds(object, pointer);
        for (place, part, _) in parts(object) {
            self.schema(part, &format!("{pointer}{place}"));
        }
    }

    /// Describes the fault of a keyword's value.
    fn fault(&self, keyword: &str, value: &Json, is_root: bool) -> Option<String> {
        let fault: &str = match keyword {
            "type" => return types(value),
            "$ref" => return self.reference(value),
            "$dynamicRef" | "$recursiveRef" => "is not supported; use $ref",
            "$id" | "id" if is_root || value.as_str().is_none() => return None,
            "$id" => "is only allowed at the top of the schema",
            "$schema" => {
                let known = value.as_str().is_some_and(|url| {
                    url.split_once("://").is_some_and(|(_, rest)| rest.starts_with("json-schema.org/"))
                });
                if is_root && known {
                    return None;
                }
                "must be a draft of json-schema.org, and is only allowed at the top of the schema"
            }
            "enum" => match value.as_list() {
                Some([]) | None => "must be a list of at least one value",
                Some(list) if list.len() > MAX_ENUM => {
                    return Some(format!("may have at most {MAX_ENUM} values"));
                }
                Some(_) => return None,
            },
            "required" if value.as_list().is_none_or(|list| list.len() != value.names().count()) => {
                "must be a list of names"
            }
            "uniqueItems" if value.as_bool().is_none() => "must be true or false",
            "format" | "pattern" if value.as_str().is_none() => "must be a string",
            "exclusiveMinimum" | "exclusiveMaximum" if value.as_bool().is_some() => return None,
            "multipleOf" if value.as_number().is_some_and(|number| number <= 0.0) => "must be above 0",
            _ if NUMBERS.contains(&keyword) && value.as_number().is_none() => "must be a number",
            _ if COUNTS.contains(&keyword) && value.as_count().is_none() => {
                "must be a whole number, 0 or above"
            }
            _ => return count(keyword, value),
        };
        Some(fault.to_owned())
    }

    fn reference(&self, value: &Json) -> Option<String> {
        let fault = match value.as_str() {
            Some("#") => return None,
            Some(text)
                if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) =>
            {
                "must be percent-encoded, as in a URI"
            }
            Some(text) if text.starts_with("#/") => match self.root.at(&text[1..]) {
                Some(Json::Object(_) | Json::Scalar(serde_json::Value::Bool(_))) => return None,
                _ => "does not point to a schema",
            },
            Some(_) => "must point to a place in this schema, such as #/$defs/name",
            None => "must be a string",
        };
        Some(fault.to_owned())
    }

    fn patterns(&mut self, object: &Object, pointer: &str) {
        if let Some(pattern) = object.get("pattern").and_then(Json::as_str)
            && let Err(detail) = pattern::parse(pattern)
        {
            self.refuse(format!("{pointer}/pattern"), detail);
        }
        for name in
            object.get("patternProperties").and_then(Json::as_object).into_iter().flat_map(Object::keys)
        {
            if let Err(detail) = pattern::parse(name) {
                self.refuse(format!("{pointer}/patternProperties{}", segment(name)), detail);
            }
        }
    }

    fn bounds(&mut self, object: &Object, pointer: &str) {
        let number = |keyword: &str| object.get(keyword).and_then(Json::as_number);
        for (least, most) in PAIRS {
            if let (Some(from), Some(to)) = (number(least), number(most))
                && from > to
            {
                self.refuse(format!("{pointer}/{least}"), format!("must not be above {most}"));
            }
        }
        for (least, most) in [
            ("exclusiveMinimum", "maximum"),
            ("minimum", "exclusiveMaximum"),
            ("exclusiveMinimum", "exclusiveMaximum"),
        ] {
            if let (Some(from), Some(to)) = (number(least), number(most))
                && from >= to
            {
                self.refuse(format!("{pointer}/{least}"), format!("must be below {most}"));
            }
        }
        for (keyword, most) in MAX_VALUES {
            if object.get(*keyword).and_then(Json::as_count).is_some_and(|count| count > *most) {
                self.refuse(format!("{pointer}/{keyword}"), format!("may be at most {most}"));
            }
        }
    }
}

fn types(value: &Json) -> Option<String> {
    let known = |name: &&str| TYPES.contains(name);
    let right = match value {
        Json::List(list) => !list.is_empty() && value.names().filter(known).count() == list.len(),
        other => other.as_str().as_ref().is_some_and(known),
    };
    (!right).then(|| format!("must be one or a list of {}", TYPES.join(", ")))
}

/// Checks the keywords that contain schemas: their types, and the number of schemas.
fn count(keyword: &str, value: &Json) -> Option<String> {
    let (_, holds, _) = HOLDERS.iter().find(|(known, ..)| *known == keyword)?;
    let fault = match (holds, value) {
        (Holds::List, Json::List(list)) if list.is_empty() => "must have at least one schema".to_owned(),
        (Holds::List | Holds::SchemaOrList, Json::List(list)) if list.len() > MAX_ALTERNATIVES => {
            format!("may have at most {MAX_ALTERNATIVES} schemas")
        }
        (Holds::List, Json::List(_)) | (Holds::Schema | Holds::SchemaOrList, _) => return None,
        (Holds::List, _) => "must be a list of schemas".to_owned(),
        (Holds::Map | Holds::MapOrNames, Json::Object(map)) if map.len() > MAX_PROPERTIES => {
            format!("may have at most {MAX_PROPERTIES} names")
        }
        (Holds::Map | Holds::MapOrNames, Json::Object(_)) => return None,
        (Holds::Map | Holds::MapOrNames, _) => "must be an object of schemas".to_owned(),
    };
    Some(fault)
}

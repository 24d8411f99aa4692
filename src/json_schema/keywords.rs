//! Keywords of a schema that contain other schemas, and whether these apply to the same value.

use super::json::{Json, Object, segment};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Applies to the same value as the schema itself.
    Here,
    /// Applies to a part of the value.
    Inside,
    /// Applies only where it is referred to.
    Apart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Schema,
    List,
    Map,
    /// One schema for all items, or, up to draft 2019-09, one for each.
    SchemaOrList,
    /// For each name a schema, or, up to draft 7, a list of names.
    MapOrNames,
}

pub(super) const HOLDERS: &[(&str, Holds, Place)] = &[
    ("$defs", Holds::Map, Place::Apart),
    ("definitions", Holds::Map, Place::Apart),
    ("allOf", Holds::List, Place::Here),
    ("anyOf", Holds::List, Place::Here),
    ("oneOf", Holds::List, Place::Here),
    ("not", Holds::Schema, Place::Here),
    ("if", Holds::Schema, Place::Here),
    ("then", Holds::Schema, Place::Here),
    ("else", Holds::Schema, Place::Here),
    ("dependentSchemas", Holds::Map, Place::Here),
    ("dependencies", Holds::MapOrNames, Place::Here),
    ("properties", Holds::Map, Place::Inside),
    ("patternProperties", Holds::Map, Place::Inside),
    ("additionalProperties", Holds::Schema, Place::Inside),
    ("unevaluatedProperties", Holds::Schema, Place::Inside),
    ("propertyNames", Holds::Schema, Place::Inside),
    ("items", Holds::SchemaOrList, Place::Inside),
    ("prefixItems", Holds::List, Place::Inside),
    ("additionalItems", Holds::Schema, Place::Inside),
    ("unevaluatedItems", Holds::Schema, Place::Inside),
    ("contains", Holds::Schema, Place::Inside),
    ("contentSchema", Holds::Schema, Place::Apart),
];

/// Schemas inside a schema, with their pointers relative to it.
pub(super) fn parts(schema: &Object) -> Vec<(String, &Json, Place)> {
    let mut parts = Vec::new();
    for (keyword, holds, place) in HOLDERS {
        let Some(held) = schema.get(*keyword) else { continue };
        match (holds, held) {
            (Holds::List | Holds::SchemaOrList, Json::List(list)) => {
                let each = list.iter().enumerate();
                parts.extend(each.map(|(n, part)| (format!("/{keyword}/{n}"), part, *place)));
            }
            (Holds::Map | Holds::MapOrNames, Json::Object(map)) => {
                let schemas = map.iter().filter(|(_, part)| part.as_list().is_none());
                parts.extend(
                    schemas.map(|(name, part)| (format!("/{keyword}{}", segment(name)), part, *place)),
                );
            }
            (Holds::Schema | Holds::SchemaOrList, part) => parts.push((format!("/{keyword}"), part, *place)),
            _ => {}
        }
    }
    parts
}

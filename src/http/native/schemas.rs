//! OpenAPI schemas of fields that take more than one shape.

use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, RefOr, Schema, schema::Type};

/// `true`, `false` or how long to think.
pub(in crate::http) fn think() -> RefOr<Schema> {
    let effort = string().enum_values(Some(["low", "medium", "high"]));
    either([object(Type::Boolean), effort.build().into()])
}

/// Seconds, or a duration such as `5m`.
pub(in crate::http) fn keep_alive() -> RefOr<Schema> {
    either([object(Type::Number), string().examples(["5m"]).build().into()])
}

/// `"json"`, or a JSON Schema.
pub(in crate::http) fn format() -> RefOr<Schema> {
    either([string().enum_values(Some(["json", ""])).build().into(), object(Type::Object)])
}

/// One or several stop sequences.
pub(in crate::http) fn stop() -> RefOr<Schema> {
    one_or_many(0, 16, Some(512))
}

/// One or several texts to embed.
pub(in crate::http) fn input() -> RefOr<Schema> {
    one_or_many(1, 2048, None)
}

/// Arguments of a call: an object, or one written as a string.
pub(in crate::http) fn arguments() -> RefOr<Schema> {
    either([object(Type::String), object(Type::Object)])
}

/// A list of texts to embed.
pub(in crate::http) fn texts() -> RefOr<Schema> {
    Schema::Array(list(1, 2048, None).build()).into()
}

fn one_or_many(least: usize, most: usize, bytes: Option<usize>) -> RefOr<Schema> {
    either([text(bytes).build().into(), list(least, most, bytes).build().into()])
}

fn list(least: usize, most: usize, bytes: Option<usize>) -> ArrayBuilder {
    ArrayBuilder::new().items(text(bytes)).min_items(Some(least)).max_items(Some(most))
}

fn text(bytes: Option<usize>) -> ObjectBuilder {
    string().min_length(Some(1)).max_length(bytes)
}

pub(in crate::http) fn either(schemas: [Schema; 2]) -> RefOr<Schema> {
    one_of(schemas.map(RefOr::T))
}

pub(in crate::http) fn one_of<const N: usize>(schemas: [RefOr<Schema>; N]) -> RefOr<Schema> {
    let one_of = schemas.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item);
    Schema::OneOf(one_of.build()).into()
}

pub(in crate::http) fn object(of: Type) -> Schema {
    Object::with_type(of).into()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

//! OpenAPI schemas of texts that are one of a closed set.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

use crate::backend::{embedded, ollama};

pub(super) fn words<const N: usize>(words: [&'static str; N]) -> RefOr<Schema> {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()).into()
}

/// Backend that serves a model.
pub(super) fn backends() -> RefOr<Schema> {
    words([embedded::PROFILE.name, ollama::PROFILE.name])
}

/// Store of documents.
pub(super) fn document_stores() -> RefOr<Schema> {
    words(["embedded", "qdrant"])
}

/// Store of the cache.
pub(super) fn stores() -> RefOr<Schema> {
    words(["embedded", "redis", "off"])
}

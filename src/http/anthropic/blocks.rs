//! Content that is a text or a list of blocks.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, Ref, RefOr, Schema, schema::Type},
};

use crate::http::{
    extract::{fields::Fields, object::Object},
    native::schemas,
};

/// Not `#[serde(untagged)]`, which keeps all of a field in memory before it looks, and cannot say which block is wrong.
pub(super) enum Blocks<B> {
    Text(String),
    List(Vec<Object<B>>),
}

impl<B> Blocks<B> {
    /// Blocks of a list; none of a text.
    pub(super) fn list(&self) -> &[Object<B>] {
        match self {
            Self::Text(_) => &[],
            Self::List(blocks) => blocks,
        }
    }

    pub(super) fn check_not_empty(&self, pointer: &str, fields: &mut Fields) {
        match self {
            Self::Text(text) if text.is_empty() => fields.refuse(pointer, "must not be empty"),
            Self::List(blocks) if blocks.is_empty() => {
                fields.refuse(pointer, "must have at least one block");
            }
            _ => {}
        }
    }
}

impl<'de, B: Deserialize<'de>> Deserialize<'de> for Blocks<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlocksVisitor<B>(PhantomData<B>);
        impl<'de, B: Deserialize<'de>> Visitor<'de> for BlocksVisitor<B> {
            type Value = Blocks<B>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of blocks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Blocks<B>, E> {
                Ok(Blocks::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Blocks<B>, E> {
                Ok(Blocks::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, blocks: A) -> Result<Blocks<B>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(blocks)).map(Blocks::List)
            }
        }
        deserializer.deserialize_any(BlocksVisitor(PhantomData))
    }
}

impl<B: ToSchema> PartialSchema for Blocks<B> {
    fn schema() -> RefOr<Schema> {
        let blocks = ArrayBuilder::new().items(Ref::from_schema_name(B::name()));
        schemas::either([schemas::object(Type::String), blocks.build().into()])
    }
}

impl<B: ToSchema> ToSchema for Blocks<B> {
    fn name() -> Cow<'static, str> {
        format!("{}s", B::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((B::name().into(), B::schema()));
        B::schemas(schemas);
    }
}

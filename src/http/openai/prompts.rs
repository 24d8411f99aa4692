//! A field that is one text or several, each of them a text or token ids.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, RefOr, Schema, schema::Type},
};

use crate::http::native::schemas;

/// A text, or token ids that stand for one.
pub(super) enum OnePrompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl OnePrompt {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(tokens) => tokens.is_empty(),
        }
    }
}

/// One or several texts: a string, a list of strings, a list of token ids, or a list of such lists.
pub(super) struct Prompts(pub(super) Vec<OnePrompt>);

/// One element of the list that a prompt is.
enum Element {
    Token(u32),
    Prompt(OnePrompt),
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PromptsVisitor;
        impl<'de> Visitor<'de> for PromptsVisitor {
            type Value = Prompts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of strings, token ids or lists of token ids")
            }

            fn visit_str<E>(self, text: &str) -> Result<Prompts, E> {
                Ok(Prompts(vec![OnePrompt::Text(text.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompts, A::Error> {
                let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
                while let Some(element) = list.next_element()? {
                    match element {
                        Element::Token(token) => tokens.push(token),
                        Element::Prompt(prompt) => prompts.push(prompt),
                    }
                    if !tokens.is_empty() && !prompts.is_empty() {
                        let mixed = "must not mix token ids with prompts";
                        return Err(A::Error::custom(mixed));
                    }
                }
                if !tokens.is_empty() {
                    prompts.push(OnePrompt::Tokens(tokens));
                }
                Ok(Prompts(prompts))
            }
        }
        deserializer.deserialize_any(PromptsVisitor)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id or a list of token ids")
            }

            fn visit_str<E>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Prompt(OnePrompt::Text(text.to_owned())))
            }

            fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
                u32::try_from(token).map(Element::Token).map_err(|_| E::custom("must be a token id"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
                let tokens = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Element::Prompt(OnePrompt::Tokens(tokens)))
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

impl PartialSchema for Prompts {
    fn schema() -> RefOr<Schema> {
        let list =
            |items: RefOr<Schema>| -> RefOr<Schema> { ArrayBuilder::new().items(items).build().into() };
        let token: RefOr<Schema> = schemas::object(Type::Integer).into();
        let text: RefOr<Schema> = schemas::object(Type::String).into();
        schemas::one_of([text.clone(), list(text), list(token.clone()), list(list(token))])
    }
}

impl ToSchema for Prompts {}

//! `POST /v1/embeddings`. Vectors are requested in base64, which is a quarter of the size, exact, and faster
//! to parse. Servers without base64 may answer with numbers.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};

use super::{UsageObject, malformed};
use crate::{
    error::{Error, Kind, Result},
    types::EmbedReply,
};

#[derive(Serialize)]
pub struct EmbeddingsBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    input: &'a [EmbedInput],
    encoding_format: &'static str,
}

/// A text, or the tokens of one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum EmbedInput {
    Text(String),
    Tokens(Vec<u32>),
}

impl<'a> EmbeddingsBody<'a> {
    pub fn new(model: Option<&'a str>, input: &'a [EmbedInput]) -> Self {
        Self { model, input, encoding_format: "base64" }
    }
}

/// The vectors in input order; the timings are left to the caller.
///
/// # Errors
/// `BadGateway` unless there are exactly `count` vectors of one length with finite numbers.
pub fn parse_embeddings(body: &[u8], count: usize) -> Result<EmbedReply> {
    let reply: Reply = serde_json::from_slice(body).map_err(malformed)?;
    let wrong = |what: &str| {
        Error::new(Kind::BadGateway, "The backend sent invalid embeddings.").with_source(what.to_owned())
    };
    let mut embeddings: Vec<Option<Vec<f32>>> = vec![None; count];
    for item in reply.data {
        let place = embeddings.get_mut(item.index).ok_or_else(|| wrong("an index is out of range"))?;
        if place.replace(item.embedding.0).is_some() {
            return Err(wrong("an index came twice"));
        }
    }
    let embeddings: Option<Vec<Vec<f32>>> = embeddings.into_iter().collect();
    let embeddings = embeddings.ok_or_else(|| wrong("an embedding is missing"))?;
    let length = embeddings.first().map_or(0, Vec::len);
    if length == 0 || embeddings.iter().any(|embedding| embedding.len() != length) {
        return Err(wrong("the embeddings are empty or of different lengths"));
    }
    if embeddings.iter().flatten().any(|number| !number.is_finite()) {
        return Err(wrong("an embedding holds a number that is not finite"));
    }
    let prompt_tokens = reply.usage.unwrap_or_default().prompt_tokens;
    Ok(EmbedReply { embeddings, prompt_tokens, ..EmbedReply::default() })
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
    usage: Option<UsageObject>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Vector,
}

struct Vector(Vec<f32>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VectorVisitor)
    }
}

struct VectorVisitor;

impl<'de> Visitor<'de> for VectorVisitor {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, or base64 of little-endian 32-bit floats")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vector, E> {
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("base64 of an odd length"));
        }
        Ok(Vector(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vector, A::Error> {
        let mut numbers = Vec::with_capacity(list.size_hint().unwrap_or(384));
        while let Some(number) = list.next_element()? {
            numbers.push(number);
        }
        Ok(Vector(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_are_read_in_input_order() {
        let encoded = STANDARD.encode([1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat());
        let body = format!(
            r#"{{"data":[{{"index":1,"embedding":[0.25,4]}},{{"index":0,"embedding":"{encoded}"}}],"usage":{{"prompt_tokens":3}}}}"#
        );
        let reply = parse_embeddings(body.as_bytes(), 2).expect("a reply");
        assert_eq!(reply.embeddings, [[1.5, -2.0], [0.25, 4.0]]);
        assert_eq!(reply.prompt_tokens, 3);
    }

    #[test]
    fn anything_but_the_right_number_of_equal_vectors_is_refused() {
        let nan = STANDARD.encode(f32::NAN.to_le_bytes());
        for body in [
            r#"{"data":[]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":[1]}]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]}"#.to_owned(),
            r#"{"data":[{"index":0,"embedding":"AAA="},{"index":1,"embedding":[1]}]}"#.to_owned(),
            format!(r#"{{"data":[{{"index":0,"embedding":"{nan}"}},{{"index":1,"embedding":[1]}}]}}"#),
        ] {
            let error = parse_embeddings(body.as_bytes(), 2).expect_err(&body);
            assert_eq!(error.kind(), Kind::BadGateway);
        }
    }
}

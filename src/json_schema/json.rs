//! JSON tree that keeps the order of an object's names, because structured output follows the order of its
//! schema.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Json {
    Object(Object),
    List(Vec<Json>),
    Scalar(Value),
}

pub(super) type Object = IndexMap<String, Json>;

impl Json {
    pub(super) fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Scalar(value) = self { value.as_str() } else { None }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        if let Self::Scalar(value) = self { value.as_bool() } else { None }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        if let Self::Scalar(value) = self { value.as_f64() } else { None }
    }

    /// Returns a whole number from 0 up, also when written as `5.0`.
    pub(super) fn as_count(&self) -> Option<u64> {
        let Self::Scalar(value) = self else { return None };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and above zero"
        )]
        let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
        value.as_u64().or_else(|| value.as_f64().and_then(whole))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.as_list().into_iter().flatten().filter_map(Self::as_str)
    }

    /// Returns the part at a JSON pointer, whose segments may be percent-encoded, as in a URI.
    pub(super) fn at(&self, pointer: &str) -> Option<&Self> {
        let mut at = self;
        for segment in pointer.split('/').skip(1) {
            let segment = decode(segment);
            at = match at {
                Self::Object(object) => object.get(&segment)?,
                Self::List(list) => list.get(segment.parse::<usize>().ok()?)?,
                Self::Scalar(_) => return None,
            };
        }
        Some(at)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Scalar(text.into())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Scalar(value.into())
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Scalar(value.into())
    }
}

/// Escapes a segment to be appended to a pointer.
pub(super) fn segment(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn decode(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, more @ ..] = rest {
        let code = more.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = code.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).replace("~1", "/").replace("~0", "~")
}

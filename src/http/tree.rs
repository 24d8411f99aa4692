//! JSON of any shape as a tree, to look at what is wrong with it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// What serde_json makes a `Value` of, without the meaning that it gives to an object whose first name is
/// one of its private ones: the text in it would be read as JSON again, one nest within another without
/// end, until the stack overflows.
pub(super) struct Tree(pub(super) Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Tree(value))) = object.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_the_text_says_whatever_its_names() {
        let plain = r#"{"a": [1, -2, 1.5, true, null, {"b": "é"}, []], "": {}}"#;
        let Tree(tree) = serde_json::from_str(plain).expect("JSON");
        assert_eq!(tree, serde_json::from_str::<Value>(plain).expect("JSON"));
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = serde_json::json!({ name: "[1" }).to_string();
            let Tree(tree) = serde_json::from_str(&text).expect("JSON");
            assert_eq!(tree.to_string(), text);
        }
        assert!(serde_json::from_str::<Tree>(&"[".repeat(200)).is_err(), "too deep");
    }
}

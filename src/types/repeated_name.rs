//! Names that an object in a caller's JSON has twice: readers differ in which of the two values counts.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The JSON pointer of the first name that an object has twice.
pub(super) fn repeated_name(json: &str) -> Option<String> {
    let mut pointer = String::new();
    let read = Part(&mut pointer).deserialize(&mut serde_json::Deserializer::from_str(json));
    read.is_err().then_some(pointer)
}

/// A value at a pointer, which stays where it is when a name comes again.
struct Part<'a>(&'a mut String);

impl Part<'_> {
    fn enter(&mut self, segment: &str) -> usize {
        let before = self.0.len();
        self.0.push('/');
        self.0.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        before
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let before = self.enter(&index.to_string());
            let part = list.next_element_seed(Part(self.0))?;
            self.0.truncate(before);
            if part.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = object.next_key::<String>()? {
            let before = self.enter(&name);
            if !names.insert(name) {
                return Err(A::Error::custom("a name is repeated"));
            }
            object.next_value_seed(Part(self.0))?;
            self.0.truncate(before);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_found_with_its_place() {
        for (json, place) in [
            (r#"{"a":1,"a":1}"#, Some("/a")),
            (r#"{"a":1,"\u0061":2}"#, Some("/a")),
            (r#"{"b":[0,{"c/~d":{"a":null,"e":1.5,"a":true}}]}"#, Some("/b/1/c~1~0d/a")),
            (r#"{"":1,"":2}"#, Some("/")),
            (r#"{"a":{"a":{"a":-1}},"b":{"a":""},"A":[[],{}]}"#, None),
            (r#"["a","a"]"#, None),
            ("null", None),
        ] {
            assert_eq!(repeated_name(json).as_deref(), place, "{json}");
        }
    }
}

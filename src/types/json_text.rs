//! JSON that is only passed on.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::repeated_name::repeated_name;

/// JSON as text, without the spaces between, its numbers as 64 bits hold them. The order of an object's
/// names stays what it was: a model that has to answer in the shape of a schema answers in the schema's
/// order. As a tree it could take a hundred times its size.
///
/// Its serialized form is JSON for `serde_json` alone; `as_string` is for others.
#[derive(Clone, Debug)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    pub fn get(&self) -> &str {
        self.0.get()
    }

    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    pub fn empty_object() -> Self {
        Self::from_written(b"{}".to_vec())
    }

    /// The text that it is, when it is one.
    pub fn to_text(&self) -> Option<String> {
        serde_json::from_str(self.get()).ok()
    }

    /// Lists and objects inside one another.
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
        for byte in self.get().bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' if !quoted => depth -= 1,
                _ => {}
            }
        }
        deepest
    }

    /// The JSON pointer of the first name that an object in it has twice.
    pub fn repeated_name(&self) -> Option<String> {
        repeated_name(self.get())
    }

    /// Replaces the texts and names in it.
    pub fn map_texts(&mut self, map: impl Fn(&str) -> Cow<'_, str>) {
        let mut written = Vec::with_capacity(self.get().len());
        let mut reader = serde_json::Deserializer::from_str(self.get());
        let writer = Writer { out: &mut written, map: &map };
        writer.deserialize(&mut reader).expect("it was JSON before");
        *self = Self::from_written(written);
    }

    fn from_written(text: Vec<u8>) -> Self {
        let text = String::from_utf8(text).expect("serde_json writes UTF-8");
        Self(RawValue::from_string(text).expect("serde_json writes JSON"))
    }
}

/// `null`.
impl Default for JsonText {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<serde_json::Value> for JsonText {
    fn from(value: serde_json::Value) -> Self {
        Self::from_written(value.to_string().into_bytes())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// From whatever says what JSON can say, so that what is wrong in it (half a surrogate, too deep a nest)
/// is found here and not by a backend.
impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        let writer = Writer { out: &mut text, map: &|text| Cow::Borrowed(text) };
        writer.deserialize(deserializer)?;
        Ok(Self::from_written(text))
    }
}

/// Writes what it is told.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// JSON written instead of a text.
    map: &'a dyn Fn(&str) -> Cow<'_, str>,
}

impl Writer<'_> {
    fn inner(&mut self) -> Writer<'_> {
        Writer { out: self.out, map: self.map }
    }

    fn scalar<E: Error>(self, value: impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.out, &value).map_err(E::custom)
    }

    /// Ends a list or an object, after each of whose parts there is a comma.
    fn close(self, end: u8) {
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
        self.out.push(end);
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let value = (self.map)(value);
        self.scalar(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        while list.next_element_seed(self.inner())?.is_some() {
            self.out.push(b',');
        }
        self.close(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        // A name is a text, and so written as a value is.
        while object.next_key_seed(self.inner())?.is_some() {
            self.out.push(b':');
            object.next_value_seed(self.inner())?;
            self.out.push(b',');
        }
        self.close(b'}');
        Ok(())
    }
}

/// As a text of its own, for `#[serde(with)]`: a form that names no fields cannot hold JSON otherwise.
pub mod as_string {
    use super::*;

    pub fn serialize<S: Serializer>(json: &JsonText, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(json.get())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JsonText, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> serde_json::Result<JsonText> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_was_said_stays_and_the_spaces_go() {
        let given =
            "{ \"z\" : [ 1 , -2 , 1.5 , true , null , { } , [ ] ] ,\n\t\"a b\\n\\\"\" : \"\\u00e9 \" }";
        let json = read(given).expect("JSON");
        assert_eq!(json.get(), r#"{"z":[1,-2,1.5,true,null,{},[]],"a b\n\"":"é "}"#);
        assert_eq!(serde_json::to_string(&[&json]).expect("JSON"), format!("[{json}]"));
        assert_eq!(read(json.get()).expect("JSON"), json);
        let tree: serde_json::Value = serde_json::from_str(given).expect("JSON");
        assert_eq!(serde_json::to_value(&json).expect("JSON"), tree);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for wrong in [r#"{"a": "\ud800"}"#, "[1,]", "{1: 2}", "1e999", &"[".repeat(200)] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.line() > 0, "{error}");
        }
    }

    #[test]
    fn it_knows_how_deep_it_is_and_what_it_is() {
        let depth = |text: &str| read(text).expect("JSON").depth();
        assert_eq!(depth("5"), 0);
        assert_eq!(depth(r#"{"a":[[],{"b":1}]}"#), 3);
        assert_eq!(depth(r#"["[[\"[[\\"]"#), 1);
        assert!(read("{}").expect("JSON").is_object());
        assert_eq!(read(r#""a\n""#).expect("JSON").to_text().as_deref(), Some("a\n"));
        assert_eq!(read("[]").expect("JSON").to_text(), None);
    }

    #[test]
    fn texts_and_names_can_be_replaced() {
        let mut json = read(r#"{"ä":["ä",1,"b\\"]}"#).expect("JSON");
        json.map_texts(|text| text.replace('ä', "\"").into());
        assert_eq!(json.get(), r#"{"\"":["\"",1,"b\\"]}"#);
    }
}

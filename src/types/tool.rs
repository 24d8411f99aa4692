//! Tools that a model may call, and its calls.

use serde::{Deserialize, Serialize};

use super::{JsonText, json_text};

/// A function the model may ask the caller to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON Schema object.
    pub parameters: JsonText,
}

/// Whether the model calls a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ToolChoice {
    /// As the model decides.
    #[default]
    Auto,
    None,
    /// At least one, whichever: the answer does not end before, unless `max_tokens` cuts it off.
    Required,
    /// The tool with this name, as `Required`.
    Named(String),
}

impl ToolChoice {
    pub fn forces_a_call(&self) -> bool {
        matches!(self, Self::Required | Self::Named(_))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: Option<String>,
    pub name: String,
    /// A JSON object.
    #[serde(with = "json_text::as_string")]
    pub arguments: JsonText,
}

impl ToolCall {
    /// The arguments of a call, however they are given: an object, one written as a text, or nothing
    /// (null, an empty text). `None` for what is no object.
    pub fn arguments(given: &JsonText) -> Option<JsonText> {
        let written = given.to_text();
        let inner = match &written {
            Some(text) if text.trim().is_empty() => None,
            Some(text) => Some(serde_json::from_str(text).ok()?),
            None => Some(given.clone()),
        };
        match inner {
            None => Some(JsonText::empty_object()),
            Some(inner) if inner.is_null() => Some(JsonText::empty_object()),
            Some(inner) => inner.is_object().then_some(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_an_object_or_none() {
        for (given, expected) in [
            (json!({"a": 1}), Some("{\"a\":1}")),
            (json!("{\"a\": 1}"), Some("{\"a\":1}")),
            (json!(null), Some("{}")),
            (json!(""), Some("{}")),
            (json!(" \n"), Some("{}")),
            (json!("null"), Some("{}")),
            (json!([1]), None),
            (json!(5), None),
            (json!("[1]"), None),
            (json!("\"{}\""), None),
            (json!("{"), None),
        ] {
            let arguments = ToolCall::arguments(&given.clone().into());
            assert_eq!(arguments.as_ref().map(JsonText::get), expected, "{given}");
        }
    }
}

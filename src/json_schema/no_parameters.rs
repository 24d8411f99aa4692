//! Parameters of a tool that has none.

use super::json::{Json, Object};
use crate::types::JsonText;

/// Arguments that a model may write for such a tool.
const NOTHING: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

/// Replaces parameters that are left out: the tool then has none.
pub(super) fn complete(parameters: &mut JsonText) {
    if parameters.is_null() || parameters.get() == "{}" {
        *parameters = serde_json::json!({"type": "object", "properties": {}}).into();
    }
}

/// Returns the schema of an empty object in place of one that lists no properties. Other arguments are valid by it, but
/// a model that may write some invents them.
pub(super) fn closed(parameters: &JsonText) -> Option<JsonText> {
    let Ok(Json::Object(schema)) = serde_json::from_str(parameters.get()) else { return None };
    let is_empty = schema.get("properties")?.as_object().is_some_and(Object::is_empty);
    let is_plain = |(name, value): (&String, &Json)| match &**name {
        "type" | "properties" | "title" | "description" | "$schema" => true,
        "required" => value.as_list().is_some_and(<[Json]>::is_empty),
        "additionalProperties" => value.as_bool() == Some(false),
        _ => false,
    };
    (is_empty && schema.iter().all(is_plain)).then(|| serde_json::from_str(NOTHING).expect("it is JSON"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_tool_without_parameters_is_called_without_arguments() {
        for (parameters, is_closed) in [
            (Value::Null, true),
            (json!({}), true),
            (json!({"type": "object", "properties": {}}), true),
            (json!({"type": "object", "properties": {}, "required": [], "title": "t"}), true),
            (json!({"type": "object", "properties": {}, "additionalProperties": false}), true),
            (json!({"type": "object"}), false),
            (json!({"type": "object", "properties": {}, "additionalProperties": true}), false),
            (json!({"type": "object", "properties": {}, "required": ["a"]}), false),
            (json!({"type": "object", "properties": {"a": {}}}), false),
        ] {
            let mut completed = parameters.clone().into();
            complete(&mut completed);
            let closed = closed(&completed);
            assert_eq!(closed.as_ref().map(JsonText::get), is_closed.then_some(NOTHING), "{parameters}");
        }
    }
}

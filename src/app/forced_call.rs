//! Forced tool calls: `tool_choice` is `required` or names a tool.

use serde_json::Value;

use crate::types::{ChatRequest, Format, Tool};

/// Constrains the answer to the JSON of one call if the request forces a call: by the engine's own grammar a model may
/// write any text before its call, and small models never come to the call.
pub(super) fn force_call(request: &mut ChatRequest) {
    if request.tool_choice.forces_a_call() {
        let calls: Vec<String> =
            request.offered_tools().enumerate().map(|(number, tool)| call_schema(number, tool)).collect();
        let schema = format!(r#"{{"anyOf":[{}]}}"#, calls.join(","));
        request.format = Format::Schema(serde_json::from_str(&schema).expect("made of JSON"));
    }
}

/// Returns the schema of a call of this tool, which is one of the alternatives. A text, because the model has to write
/// the name first.
fn call_schema(number: usize, tool: &Tool) -> String {
    let name = Value::from(tool.name.as_str());
    let root = format!(r##""$ref":"#/anyOf/{number}/properties/arguments/"##);
    let arguments = tool.parameters.get().replace(r##""$ref":"#/"##, &root);
    format!(
        r#"{{"type":"object","properties":{{"name":{{"const":{name}}},"arguments":{arguments}}},"required":["name","arguments"],"additionalProperties":false}}"#
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Prompt, ToolChoice};

    #[test]
    fn a_forced_call_has_one_of_the_tools_and_its_parameters() {
        let tool = |name: &str, parameters: Value| Tool {
            name: name.to_owned(),
            description: None,
            parameters: parameters.into(),
        };
        let list = json!({"$ref": "#/$defs/list", "$defs": {"list": {"items": {"$ref": "#/$defs/list"}}}});
        let mut request = ChatRequest {
            tools: vec![tool("a\"b", json!({"type": "object"})), tool("walk", list)],
            tool_choice: ToolChoice::Required,
            ..ChatRequest::new("m", Prompt::Messages(Vec::new()))
        };
        force_call(&mut request);
        let Format::Schema(schema) = &request.format else { panic!("no schema") };
        let list = "#/anyOf/1/properties/arguments/$defs/list";
        let call = |name: &str, arguments: Value| {
            json!({"type": "object", "properties": {"name": {"const": name}, "arguments": arguments},
                "required": ["name", "arguments"], "additionalProperties": false})
        };
        assert_eq!(
            serde_json::from_str::<Value>(schema.get()).expect("JSON"),
            json!({"anyOf": [call("a\"b", json!({"type": "object"})),
                call("walk", json!({"$ref": list, "$defs": {"list": {"items": {"$ref": list}}}}))]})
        );
        assert!(schema.get().find("\"name\"") < schema.get().find("\"arguments\""), "{schema}");
        request.tool_choice = ToolChoice::Auto;
        request.format = Format::Text;
        force_call(&mut request);
        assert_eq!(request.format, Format::Text);
    }
}

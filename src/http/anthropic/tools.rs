//! Tools, and which of them the model must call.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
            tools::check_tools,
        },
        ignored::{Ignored, IgnoredNames},
    },
    types::{JsonText, Tool, ToolChoice},
};

/// A tool that the client runs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientTool {
    #[serde(rename = "type")]
    #[schema(value_type = Option<ClientToolType>)]
    _type: Option<Word<ClientToolType>>,
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    #[schema(value_type = Object)]
    input_schema: JsonText,
    /// Has no effect: arguments always match the schema.
    #[serde(rename = "strict")]
    _strict: Option<bool>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    cache_control: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    defer_loading: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    eager_input_streaming: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    allowed_callers: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    input_examples: Ignored,
}

/// Always `custom`.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ClientToolType {
    Custom,
}

/// Whether the model calls a tool.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnthropicToolChoice {
    #[schema(value_type = ToolChoiceType)]
    r#type: Word<ToolChoiceType>,
    /// For `tool`: name of the tool.
    name: Option<String>,
    /// Whether the model may call only one tool in an answer.
    #[schema(default = false)]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ToolChoiceType {
    Auto,
    Any,
    Tool,
    None,
}

impl ClientTool {
    pub(super) fn check_all(tools: &[Object<Self>], fields: &mut Fields) {
        let names = tools.iter().map(|Object(tool)| &*tool.name);
        check_tools(names, |index| format!("/tools/{index}/name"), fields);
        for (index, Object(tool)) in tools.iter().enumerate() {
            if !tool.input_schema.is_object() {
                fields.refuse(format!("/tools/{index}/input_schema"), "must be a JSON Schema object");
            }
        }
    }

    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        names.note("tools.cache_control", self.cache_control);
        names.note("tools.defer_loading", self.defer_loading);
        names.note("tools.eager_input_streaming", self.eager_input_streaming);
        names.note("tools.allowed_callers", self.allowed_callers);
        names.note("tools.input_examples", self.input_examples);
    }
}

impl From<ClientTool> for Tool {
    fn from(tool: ClientTool) -> Self {
        Self { name: tool.name, description: tool.description, parameters: tool.input_schema }
    }
}

impl AnthropicToolChoice {
    pub(super) fn is_parallel(&self) -> bool {
        self.disable_parallel_tool_use != Some(true)
    }

    pub(super) fn into_choice(self, fields: &mut Fields) -> ToolChoice {
        let is_named = self.r#type.0 == ToolChoiceType::Tool;
        if self.name.is_some() != is_named {
            let rule = if is_named {
                "is required with the type tool"
            } else {
                "is only allowed with the type tool"
            };
            fields.refuse("/tool_choice/name", rule);
        }
        match self.r#type.0 {
            ToolChoiceType::Auto => ToolChoice::Auto,
            ToolChoiceType::Any => ToolChoice::Required,
            ToolChoiceType::None => ToolChoice::None,
            ToolChoiceType::Tool => ToolChoice::Named(self.name.unwrap_or_default()),
        }
    }
}

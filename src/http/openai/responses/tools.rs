//! Tools, and which of them the model must call.

use std::{borrow::Cow, collections::HashSet};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, Ref, RefOr, Schema, schema::Type},
};

use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
            tools::check_tools,
        },
        native::schemas,
        openai::tools::FunctionType,
    },
    types::{JsonText, Tool, ToolChoice},
};

/// A function that the model can call.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ResponseTool {
    #[schema(value_type = FunctionType)]
    r#type: Word<FunctionType>,
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: JsonText,
    /// Has no effect: arguments always match the parameters.
    strict: Option<bool>,
}

impl ResponseTool {
    pub(super) fn check_all(tools: &[Self], fields: &mut Fields) {
        let names = tools.iter().map(|tool| &*tool.name);
        check_tools(names, |index| format!("/tools/{index}/name"), fields);
    }
}

impl From<&ResponseTool> for Tool {
    fn from(tool: &ResponseTool) -> Self {
        let ResponseTool { name, description, parameters, .. } = tool.clone();
        Self { name, description, parameters }
    }
}

/// `none`, `auto`, `required`, a function by its name, or some of the functions.
pub(super) struct ToolChoiceBody {
    /// As it was sent.
    pub(super) json: JsonText,
    pub(super) choice: ToolChoice,
    /// Names of the functions that may be called; all when there is none.
    allowed: Option<Vec<String>>,
}

impl Default for ToolChoiceBody {
    fn default() -> Self {
        Self { json: serde_json::Value::from("auto").into(), choice: ToolChoice::Auto, allowed: None }
    }
}

/// Functions that the model may or must call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResponseToolChoice {
    #[schema(value_type = ResponseToolChoiceType)]
    r#type: Word<ResponseToolChoiceType>,
    /// For `function`.
    name: Option<String>,
    /// For `allowed_tools`: `auto` or `required`.
    #[schema(value_type = Option<AllowedToolsMode>)]
    mode: Option<Word<AllowedToolsMode>>,
    /// For `allowed_tools`.
    #[schema(value_type = Option<Vec<AllowedTool>>)]
    tools: Option<Vec<Object<AllowedTool>>>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResponseToolChoiceType {
    Function,
    AllowedTools,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AllowedToolsMode {
    Auto,
    Required,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AllowedTool {
    #[serde(rename = "type")]
    #[schema(value_type = FunctionType)]
    _type: Word<FunctionType>,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ToolChoiceWord {
    None,
    Auto,
    Required,
}

impl ToolChoiceBody {
    /// Leaves out the tools that must not be called.
    pub(super) fn restrict(&self, tools: &mut Vec<Tool>, fields: &mut Fields) {
        let Some(allowed) = &self.allowed else { return };
        let known: HashSet<&str> = tools.iter().map(|tool| &*tool.name).collect();
        for (index, name) in allowed.iter().enumerate() {
            if !known.contains(&**name) {
                fields.refuse(format!("/tool_choice/tools/{index}/name"), "must name one of the tools");
            }
        }
        tools.retain(|tool| allowed.contains(&tool.name));
    }

    fn read(given: &JsonText) -> Option<(ToolChoice, Option<Vec<String>>)> {
        if !given.is_object() {
            let Word(word) = serde_json::from_str(given.get()).ok()?;
            let choice = match word {
                ToolChoiceWord::None => ToolChoice::None,
                ToolChoiceWord::Auto => ToolChoice::Auto,
                ToolChoiceWord::Required => ToolChoice::Required,
            };
            return Some((choice, None));
        }
        let Object(given) = serde_json::from_str::<Object<ResponseToolChoice>>(given.get()).ok()?;
        match (given.r#type.0, given.name, given.mode, given.tools) {
            (ResponseToolChoiceType::Function, Some(name), None, None) => {
                Some((ToolChoice::Named(name), None))
            }
            (ResponseToolChoiceType::AllowedTools, None, Some(Word(mode)), Some(tools)) => {
                let choice = match mode {
                    AllowedToolsMode::Auto => ToolChoice::Auto,
                    AllowedToolsMode::Required => ToolChoice::Required,
                };
                Some((choice, Some(tools.into_iter().map(|Object(tool)| tool.name).collect())))
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for ToolChoiceBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = JsonText::deserialize(deserializer)?;
        let Some((choice, allowed)) = Self::read(&json) else {
            return Err(D::Error::custom(
                "must be none, auto, required, a function: {\"type\": \"function\", \"name\": …}, or some of them: {\"type\": \"allowed_tools\", \"mode\": …, \"tools\": …}",
            ));
        };
        Ok(Self { json, choice, allowed })
    }
}

impl PartialSchema for ToolChoiceBody {
    fn schema() -> RefOr<Schema> {
        let words =
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["none", "auto", "required"]));
        schemas::one_of([words.build().into(), Ref::from_schema_name(ResponseToolChoice::name()).into()])
    }
}

impl ToSchema for ToolChoiceBody {
    fn name() -> Cow<'static, str> {
        "ResponseToolChoiceBody".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ResponseToolChoice::name().into(), ResponseToolChoice::schema()));
        ResponseToolChoice::schemas(schemas);
    }
}

//! Tools, and which of them the model must call.

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
    },
    types::{JsonText, Tool, ToolChoice},
};

/// A function that the model can call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionTool {
    #[serde(rename = "type")]
    #[schema(value_type = FunctionType)]
    _type: Word<FunctionType>,
    #[schema(value_type = FunctionDefinition)]
    function: Object<FunctionDefinition>,
}

/// Always `function`.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FunctionType {
    Function,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FunctionDefinition {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: JsonText,
    /// Has no effect: arguments always match the parameters.
    #[serde(rename = "strict")]
    _strict: Option<bool>,
}

/// `none`, `auto`, `required`, or a function by its name.
pub(super) struct ToolChoiceBody(ToolChoice);

/// A function that the model must call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedToolChoice {
    #[serde(rename = "type")]
    #[schema(value_type = FunctionType)]
    _type: Word<FunctionType>,
    #[schema(value_type = FunctionName)]
    function: Object<FunctionName>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FunctionName {
    name: String,
}

/// Words of a tool choice.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ToolChoiceWord {
    None,
    Auto,
    Required,
}

impl FunctionTool {
    pub(super) fn check_all(tools: &[Object<Self>], fields: &mut Fields) {
        let names = tools.iter().map(|Object(tool)| &*tool.function.0.name);
        check_tools(names, |index| format!("/tools/{index}/function/name"), fields);
    }
}

impl From<FunctionTool> for Tool {
    fn from(FunctionTool { function: Object(function), .. }: FunctionTool) -> Self {
        Self { name: function.name, description: function.description, parameters: function.parameters }
    }
}

impl From<ToolChoiceBody> for ToolChoice {
    fn from(ToolChoiceBody(choice): ToolChoiceBody) -> Self {
        choice
    }
}

impl<'de> Deserialize<'de> for ToolChoiceBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = JsonText::deserialize(deserializer)?;
        let wrong = || {
            D::Error::custom(
                "must be none, auto, required, or a function: {\"type\": \"function\", \"function\": {\"name\": …}}",
            )
        };
        let choice = if given.is_object() {
            let Object(named) =
                serde_json::from_str::<Object<NamedToolChoice>>(given.get()).map_err(|_| wrong())?;
            ToolChoice::Named(named.function.0.name)
        } else {
            let Word(word) = serde_json::from_str(given.get()).map_err(|_| wrong())?;
            match word {
                ToolChoiceWord::None => ToolChoice::None,
                ToolChoiceWord::Auto => ToolChoice::Auto,
                ToolChoiceWord::Required => ToolChoice::Required,
            }
        };
        Ok(Self(choice))
    }
}

impl PartialSchema for ToolChoiceBody {
    fn schema() -> RefOr<Schema> {
        let words =
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["none", "auto", "required"]));
        schemas::one_of([words.build().into(), Ref::from_schema_name(NamedToolChoice::name()).into()])
    }
}

impl ToSchema for ToolChoiceBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NamedToolChoice::name().into(), NamedToolChoice::schema()));
        NamedToolChoice::schemas(schemas);
    }
}

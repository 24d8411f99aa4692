//! A message of a conversation, and the tools that it may be about.

use serde::Deserialize;
use utoipa::ToSchema;

use super::{content::Content, schemas};
use crate::{
    app::App,
    error,
    http::extract::{
        fields::Fields,
        images::{numbered, open, open_parts},
        object::{Object, Word},
        tools::check_tools,
    },
    images::EncodedImage,
    types::{JsonText, Message, Role, Tool, ToolCall},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MessageBody {
    #[schema(value_type = RoleBody)]
    role: Word<RoleBody>,
    /// A text, or a list of parts.
    content: Option<Content>,
    /// Base64, with or without a `data:` URI prefix.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    images: Option<Vec<EncodedImage>>,
    /// Reasoning from an earlier response. Models do not see it again.
    #[serde(rename = "thinking")]
    _thinking: Option<String>,
    #[schema(value_type = Option<Vec<ToolCallBody>>)]
    tool_calls: Option<Vec<Object<ToolCallBody>>>,
    /// For a `tool` message: id of the call that it answers.
    tool_call_id: Option<String>,
    /// For a `tool` message: name of the tool that was called.
    tool_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum RoleBody {
    System,
    /// OpenAI's newer name for `system`.
    Developer,
    User,
    Assistant,
    Tool,
}

/// A function that the model can call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ToolBody {
    #[serde(rename = "type")]
    #[schema(value_type = Option<ToolType>)]
    _type: Option<Word<ToolType>>,
    #[schema(value_type = FunctionBody)]
    function: Object<FunctionBody>,
}

/// Always `function`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ToolType {
    Function,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FunctionBody {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: JsonText,
}

/// Tool calls the assistant made in an earlier turn.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ToolCallBody {
    id: Option<String>,
    #[serde(rename = "type")]
    #[schema(value_type = Option<ToolType>)]
    _type: Option<Word<ToolType>>,
    /// Position among the calls. Ignored: the order of the list counts.
    #[serde(rename = "index")]
    _index: Option<u32>,
    #[schema(value_type = CalledBody)]
    function: Object<CalledBody>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CalledBody {
    name: String,
    /// Accepted for compatibility with Ollama, and ignored.
    #[serde(rename = "index")]
    _index: Option<u32>,
    /// An object, or a string that contains one as JSON, as in OpenAI's API.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    arguments: JsonText,
}

impl MessageBody {
    pub(in crate::http) fn images(&self) -> usize {
        self.images.as_ref().map_or(0, Vec::len) + self.content.as_ref().map_or(0, Content::images)
    }

    pub(in crate::http) fn check(&self, index: usize, fields: &mut Fields) {
        let calls_tools = self.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        match &self.content {
            Some(content) => content.check(&format!("/messages/{index}/content"), fields),
            None if calls_tools && matches!(self.role.0, RoleBody::Assistant) => {}
            None => {
                fields.refuse(format!("/messages/{index}/content"), "must be a string or a list of parts")
            }
        }
        let calls = self.tool_calls.as_deref().unwrap_or_default();
        ToolCallBody::check_all(calls, self.role.0, &format!("/messages/{index}"), fields);
    }

    pub(in crate::http) async fn into_message(self, index: usize, app: &App) -> error::Result<Message> {
        let content = self.content.unwrap_or(Content::Text(String::new()));
        let content = open_parts(content.into_parts(&format!("/messages/{index}/content")), app).await?;
        let images = numbered(&format!("/messages/{index}/images"), self.images);
        let role = self.role.0.into();
        Ok(Message {
            tool_calls: self.tool_calls.into_iter().flatten().map(|Object(call)| call.into()).collect(),
            tool_call_id: self.tool_call_id,
            tool_name: self.tool_name,
            ..Message { content, ..Message::new(role, "") }.with_images(open(images, app).await?)
        })
    }
}

impl From<RoleBody> for Role {
    fn from(role: RoleBody) -> Self {
        match role {
            RoleBody::System | RoleBody::Developer => Self::System,
            RoleBody::User => Self::User,
            RoleBody::Assistant => Self::Assistant,
            RoleBody::Tool => Self::Tool,
        }
    }
}

impl ToolCallBody {
    pub(in crate::http) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Checks the calls of the message at `pointer`.
    pub(in crate::http) fn check_all(
        calls: &[Object<Self>],
        role: RoleBody,
        pointer: &str,
        fields: &mut Fields,
    ) {
        if !calls.is_empty() && role != RoleBody::Assistant {
            fields.refuse(format!("{pointer}/tool_calls"), "are only allowed in assistant messages");
        }
        for (call, Object(Self { function, .. })) in calls.iter().enumerate() {
            if function.0.name.is_empty() {
                fields.refuse(format!("{pointer}/tool_calls/{call}/function/name"), "must not be empty");
            }
            let pointer = format!("{pointer}/tool_calls/{call}/function/arguments");
            match ToolCall::arguments(&function.0.arguments).map(|arguments| arguments.repeated_name()) {
                None => fields.refuse(pointer, "must be an object, or a string that contains one as JSON"),
                Some(Some(place)) => fields.refuse(pointer + &place, "is given twice"),
                Some(None) => {}
            }
        }
    }
}

impl ToolBody {
    pub(in crate::http) fn check_all(tools: &[Object<Self>], fields: &mut Fields) {
        let names = tools.iter().map(|Object(tool)| &*tool.function.0.name);
        check_tools(names, |index| format!("/tools/{index}/function/name"), fields);
    }
}

impl From<ToolBody> for Tool {
    fn from(ToolBody { function: Object(function), .. }: ToolBody) -> Self {
        Self { name: function.name, description: function.description, parameters: function.parameters }
    }
}

impl From<ToolCallBody> for ToolCall {
    fn from(ToolCallBody { id, function: Object(function), .. }: ToolCallBody) -> Self {
        // OpenAI's clients send the arguments as JSON in a string.
        let arguments = ToolCall::arguments(&function.arguments).unwrap_or(function.arguments);
        Self { id, name: function.name, arguments }
    }
}

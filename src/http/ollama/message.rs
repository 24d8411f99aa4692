//! Messages of a chat, and the tools that it may use.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    error,
    http::{
        extract::{
            fields::Fields,
            images::{check_images, numbered, open},
            object::{Object, Word},
            tools::check_tools,
        },
        ignored::Ignored,
        native::message::{RoleBody, ToolCallBody},
    },
    images::EncodedImage,
    types::{JsonText, Message, Tool, ToolCall},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OllamaMessage {
    #[schema(value_type = RoleBody)]
    role: Word<RoleBody>,
    /// Required unless the message has `tool_calls` or `images`.
    content: Option<String>,
    /// Base64.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    images: Option<Vec<EncodedImage>>,
    /// Reasoning from an earlier reply. The model does not see it again.
    #[serde(default, rename = "thinking")]
    #[schema(value_type = Option<String>)]
    _thinking: Ignored,
    #[schema(value_type = Option<Vec<ToolCallBody>>)]
    tool_calls: Option<Vec<Object<ToolCallBody>>>,
    /// For a `tool` message: name of the tool that was called.
    #[serde(alias = "name")]
    tool_name: Option<String>,
    /// For a `tool` message: id of the call that it answers.
    tool_call_id: Option<String>,
}

/// A function that the model can call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OllamaTool {
    #[serde(rename = "type")]
    #[schema(value_type = Option<OllamaToolType>)]
    _type: Option<Word<OllamaToolType>>,
    #[schema(value_type = OllamaFunction)]
    function: Object<OllamaFunction>,
}

/// Always `function`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OllamaToolType {
    Function,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OllamaFunction {
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

impl OllamaMessage {
    pub(super) fn images(&self) -> usize {
        self.images.as_ref().map_or(0, Vec::len)
    }

    fn calls(&self) -> &[Object<ToolCallBody>] {
        self.tool_calls.as_deref().unwrap_or_default()
    }

    /// Checks a conversation: each message by itself, and that each tool message follows a call.
    pub(super) fn check_all(messages: &[Object<Self>], fields: &mut Fields) {
        let mut has_called = false;
        for (index, Object(message)) in messages.iter().enumerate() {
            if fields.is_full() {
                return;
            }
            let pointer = format!("/messages/{index}");
            if message.content.is_none() && message.images() == 0 && message.calls().is_empty() {
                fields.refuse(format!("{pointer}/content"), "must be a string");
            }
            ToolCallBody::check_all(message.calls(), message.role.0, &pointer, fields);
            if message.role.0 == RoleBody::Tool && !has_called {
                let detail = "must not be tool: there is no earlier message with tool_calls that this one could answer";
                fields.refuse(format!("{pointer}/role"), detail);
            }
            has_called |= !message.calls().is_empty();
        }
        check_images(messages.iter().map(|Object(message)| message.images()).sum(), "/messages", fields);
    }

    /// # Errors
    /// Those of an image that cannot be decoded.
    pub(super) async fn into_messages(messages: Vec<Object<Self>>, app: &App) -> error::Result<Vec<Message>> {
        let mut read = Vec::with_capacity(messages.len());
        for (index, Object(message)) in messages.into_iter().enumerate() {
            let images = numbered(&format!("/messages/{index}/images"), message.images);
            let content = message.content.unwrap_or_default();
            let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
            read.push(Message {
                tool_calls: message
                    .tool_calls
                    .into_iter()
                    .flatten()
                    .map(|Object(call)| ToolCall::from(call))
                    .collect(),
                tool_call_id: filled(message.tool_call_id),
                tool_name: filled(message.tool_name),
                ..Message::new(message.role.0.into(), content).with_images(open(images, app).await?)
            });
        }
        Ok(read)
    }
}

impl OllamaTool {
    pub(super) fn check_all(tools: &[Object<Self>], fields: &mut Fields) {
        let names = tools.iter().map(|Object(tool)| &*tool.function.0.name);
        check_tools(names, |index| format!("/tools/{index}/function/name"), fields);
    }
}

impl From<OllamaTool> for Tool {
    fn from(OllamaTool { function: Object(function), .. }: OllamaTool) -> Self {
        Self { name: function.name, description: function.description, parameters: function.parameters }
    }
}

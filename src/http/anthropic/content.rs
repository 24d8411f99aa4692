//! Messages, and the blocks that their content is made of.

use std::collections::HashSet;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{blocks::Blocks, image::AnthropicImage};
use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
        },
        ignored::{Ignored, IgnoredNames},
    },
    types::JsonText,
};

// OpenAPI schemas are derived for types without generic parameters.
type MessageContent = Blocks<ContentBlock>;
type ResultContent = Blocks<ResultBlock>;
pub(super) type SystemContent = Blocks<SystemBlock>;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputMessage {
    #[schema(value_type = InputRole)]
    pub(super) role: Word<InputRole>,
    /// A text, or a list of blocks.
    pub(super) content: MessageContent,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum InputRole {
    User,
    Assistant,
}

// A body may have a million of them, so that what most do not have is boxed.
/// A part of a message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentBlock {
    #[schema(value_type = BlockType)]
    pub(super) r#type: Word<BlockType>,
    /// For `text`.
    pub(super) text: Option<String>,
    /// For `image`.
    #[schema(value_type = Option<AnthropicImage>)]
    pub(super) source: Option<Box<Object<AnthropicImage>>>,
    /// For `tool_use`.
    #[schema(value_type = Option<String>)]
    pub(super) id: Option<Box<str>>,
    /// For `tool_use`: name of the tool.
    #[schema(value_type = Option<String>)]
    pub(super) name: Option<Box<str>>,
    /// For `tool_use`: arguments of the call.
    #[schema(value_type = Option<Object>)]
    pub(super) input: Option<JsonText>,
    /// For `tool_result`: id of the call that it answers.
    #[schema(value_type = Option<String>)]
    pub(super) tool_use_id: Option<Box<str>>,
    /// For `tool_result`: a text, or a list of texts and images.
    pub(super) content: Option<Box<ResultContent>>,
    /// For `tool_result`. Has no effect: chat templates have no place for it.
    is_error: Option<bool>,
    /// For `thinking`. Has no effect: models do not see earlier reasoning again.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    thinking: Ignored,
    /// For `thinking`. Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    signature: Ignored,
    /// For `redacted_thinking`. Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    data: Ignored,
    /// Has no effect: prompts are cached in any case.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    cache_control: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    citations: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    caller: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    toolset_name: Ignored,
    /// Has no effect: the size of images that models get is set by `VISION_MAX_SIDE`.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    transformations: Ignored,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BlockType {
    Text,
    Image,
    ToolUse,
    ToolResult,
    Thinking,
    RedactedThinking,
}

/// A part of a tool's result.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultBlock {
    #[schema(value_type = ResultBlockType)]
    r#type: Word<ResultBlockType>,
    /// For `text`.
    pub(super) text: Option<String>,
    /// For `image`.
    #[schema(value_type = Option<AnthropicImage>)]
    pub(super) source: Option<Box<Object<AnthropicImage>>>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    cache_control: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    citations: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    transformations: Ignored,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResultBlockType {
    Text,
    Image,
}

/// A part of the system prompt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SystemBlock {
    #[serde(rename = "type")]
    #[schema(value_type = SystemBlockType)]
    _type: Word<SystemBlockType>,
    pub(super) text: String,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    cache_control: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    citations: Ignored,
}

/// Always `text`.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SystemBlockType {
    Text,
}

/// As in Anthropic's API.
const MAX_MESSAGES: usize = 100_000;

const REQUIRED: &str = "is required in a block of this type";
const NOT_ALLOWED: &str = "is not allowed in a block of this type";

impl InputMessage {
    pub(super) fn images(&self) -> usize {
        let in_result = |Object(block): &Object<ResultBlock>| block.source.is_some();
        let of_block = |Object(block): &Object<ContentBlock>| {
            let results = block.results();
            usize::from(block.source.is_some()) + results.iter().filter(|block| in_result(block)).count()
        };
        self.content.list().iter().map(of_block).sum()
    }

    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        for Object(block) in self.content.list() {
            let is_thought = matches!(block.r#type.0, BlockType::Thinking | BlockType::RedactedThinking);
            names.note_if("messages.content.thinking", is_thought);
            names.note_if("messages.content.is_error", block.is_error == Some(true));
            names.note("messages.content.cache_control", block.cache_control);
            names.note("messages.content.citations", block.citations);
            names.note("messages.content.caller", block.caller);
            names.note("messages.content.toolset_name", block.toolset_name);
            names.note("messages.content.transformations", block.transformations);
            for Object(block) in block.results() {
                names.note("messages.content.cache_control", block.cache_control);
                names.note("messages.content.citations", block.citations);
                names.note("messages.content.transformations", block.transformations);
            }
        }
    }

    /// Checks a conversation: each message by itself, and that every result answers an earlier call.
    pub(super) fn check_all(messages: &[Object<Self>], fields: &mut Fields) {
        if messages.is_empty() {
            fields.refuse("/messages", "must have at least one message");
        }
        if messages.len() > MAX_MESSAGES {
            fields.refuse("/messages", format!("may have at most {MAX_MESSAGES} messages"));
        }
        let mut calls: HashSet<&str> = HashSet::new();
        for (index, Object(message)) in messages.iter().enumerate() {
            let pointer = format!("/messages/{index}/content");
            message.content.check_not_empty(&pointer, fields);
            for (at, Object(block)) in message.content.list().iter().enumerate() {
                if fields.is_full() {
                    return;
                }
                let pointer = format!("{pointer}/{at}");
                block.check(message.role.0, &pointer, fields);
                if block.tool_use_id.as_deref().is_some_and(|id| !calls.contains(id)) {
                    let detail = "must be the id of a tool_use block in an earlier message";
                    fields.refuse(format!("{pointer}/tool_use_id"), detail);
                }
            }
            calls.extend(message.content.list().iter().filter_map(|Object(block)| block.id.as_deref()));
        }
    }
}

impl ContentBlock {
    /// Parts of a result that is a list.
    fn results(&self) -> &[Object<ResultBlock>] {
        self.content.as_ref().map_or(&[], |content| content.list())
    }

    fn check(&self, role: InputRole, pointer: &str, fields: &mut Fields) {
        let (required, optional): (&[&str], &[&str]) = match self.r#type.0 {
            BlockType::Text => (&["text"], &[]),
            BlockType::Image => (&["source"], &[]),
            BlockType::ToolUse => (&["id", "name", "input"], &[]),
            BlockType::ToolResult => (&["tool_use_id"], &["content", "is_error"]),
            BlockType::Thinking => (&["thinking"], &["signature"]),
            BlockType::RedactedThinking => (&["data"], &[]),
        };
        for (name, is_given) in [
            ("text", self.text.is_some()),
            ("source", self.source.is_some()),
            ("id", self.id.is_some()),
            ("name", self.name.is_some()),
            ("input", self.input.is_some()),
            ("tool_use_id", self.tool_use_id.is_some()),
            ("content", self.content.is_some()),
            ("is_error", self.is_error.is_some()),
            ("thinking", self.thinking.is_sent()),
            ("signature", self.signature.is_sent()),
            ("data", self.data.is_sent()),
        ] {
            if required.contains(&name) && !is_given {
                fields.refuse(format!("{pointer}/{name}"), REQUIRED);
            } else if is_given && !required.contains(&name) && !optional.contains(&name) {
                fields.refuse(format!("{pointer}/{name}"), NOT_ALLOWED);
            }
        }
        self.check_role(role, pointer, fields);
        check_text(self.text.as_deref(), pointer, fields);
        if let Some(source) = &self.source {
            source.0.check(&format!("{pointer}/source"), fields);
        }
        self.check_input(&format!("{pointer}/input"), fields);
        for (index, Object(block)) in self.results().iter().enumerate() {
            block.check(&format!("{pointer}/content/{index}"), fields);
        }
    }

    fn check_role(&self, role: InputRole, pointer: &str, fields: &mut Fields) {
        let only = match self.r#type.0 {
            BlockType::Text => return,
            BlockType::Image | BlockType::ToolResult => InputRole::User,
            BlockType::ToolUse | BlockType::Thinking | BlockType::RedactedThinking => InputRole::Assistant,
        };
        if only != role {
            let name = if only == InputRole::User { "user" } else { "assistant" };
            let detail = format!("is a type that only messages of the role {name} may have");
            fields.refuse(format!("{pointer}/type"), detail);
        }
    }

    fn check_input(&self, pointer: &str, fields: &mut Fields) {
        let Some(input) = &self.input else { return };
        if !input.is_object() {
            fields.refuse(pointer, "must be an object");
        } else if let Some(place) = input.repeated_name() {
            fields.refuse(format!("{pointer}{place}"), "is given twice");
        }
    }
}

impl ResultBlock {
    fn check(&self, pointer: &str, fields: &mut Fields) {
        let (text, source) = (("text", self.text.is_some()), ("source", self.source.is_some()));
        let (wanted, other) = match self.r#type.0 {
            ResultBlockType::Text => (text, source),
            ResultBlockType::Image => (source, text),
        };
        if !wanted.1 {
            fields.refuse(format!("{pointer}/{}", wanted.0), REQUIRED);
        }
        if other.1 {
            fields.refuse(format!("{pointer}/{}", other.0), NOT_ALLOWED);
        }
        if let Some(source) = &self.source {
            source.0.check(&format!("{pointer}/source"), fields);
        }
    }
}

impl SystemBlock {
    pub(super) fn check(&self, pointer: &str, fields: &mut Fields) {
        check_text(Some(&self.text), pointer, fields);
    }

    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        names.note("system.cache_control", self.cache_control);
        names.note("system.citations", self.citations);
    }
}

fn check_text(text: Option<&str>, pointer: &str, fields: &mut Fields) {
    if text.is_some_and(str::is_empty) {
        fields.refuse(format!("{pointer}/text"), "must not be empty");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of 32 MB has up to two million blocks.
    #[test]
    fn blocks_take_little_memory() {
        assert!(size_of::<ContentBlock>() <= 128, "{}", size_of::<ContentBlock>());
        assert!(size_of::<ResultBlock>() <= 64, "{}", size_of::<ResultBlock>());
    }
}

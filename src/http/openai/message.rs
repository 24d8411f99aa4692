//! Messages of a chat.

use std::collections::HashSet;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    error,
    http::{
        extract::{
            fields::Fields,
            images::open_parts,
            object::{Object, Word},
        },
        ignored::{Ignored, IgnoredNames},
        native::{
            content::Content,
            message::{RoleBody, ToolCallBody},
        },
    },
    types::{Message, ToolCall},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatMessage {
    #[schema(value_type = RoleBody)]
    role: Word<RoleBody>,
    /// A text, or a list of parts: texts and images as `data:` URIs. Required unless the message has `tool_calls`.
    content: Option<Content>,
    /// Has no effect: chat templates have no place for it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Ignored,
    #[schema(value_type = Option<Vec<ToolCallBody>>)]
    tool_calls: Option<Vec<Object<ToolCallBody>>>,
    /// For a `tool` message: id of the call that it answers.
    tool_call_id: Option<String>,
    /// Reasoning from an earlier reply. The model does not see it again.
    #[serde(default, rename = "reasoning_content")]
    #[schema(value_type = Option<String>)]
    _reasoning_content: Ignored,
    #[serde(default, rename = "reasoning")]
    #[schema(value_type = Option<String>)]
    _reasoning: Ignored,
    /// Has no effect: part of an earlier reply.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    refusal: Ignored,
    #[serde(default)]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    annotations: Ignored,
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    audio: Ignored,
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    function_call: Ignored,
}

impl ChatMessage {
    pub(super) fn images(&self) -> usize {
        self.content.as_ref().map_or(0, Content::images)
    }

    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        for (name, ignored) in [
            ("messages.name", self.name),
            ("messages.refusal", self.refusal),
            ("messages.annotations", self.annotations),
            ("messages.audio", self.audio),
            ("messages.function_call", self.function_call),
        ] {
            names.note(name, ignored);
        }
        let has_detail = self.content.as_ref().is_some_and(Content::has_detail);
        names.note_if("messages.content.image_url.detail", has_detail);
    }

    /// Checks a conversation: each message by itself, and that every tool message answers an earlier call.
    pub(super) fn check_all(messages: &[Object<Self>], fields: &mut Fields) {
        if messages.is_empty() {
            fields.refuse("/messages", "must have at least one message");
        }
        let mut calls: HashSet<&str> = HashSet::new();
        for (index, Object(message)) in messages.iter().enumerate() {
            if fields.is_full() {
                return;
            }
            message.check(index, fields);
            if message.role.0 == RoleBody::Tool {
                let pointer = format!("/messages/{index}/tool_call_id");
                match &message.tool_call_id {
                    None => fields.refuse(pointer, "is required in a tool message"),
                    Some(id) if !calls.contains(id.as_str()) => {
                        fields.refuse(pointer, "must be the id of a call in an earlier message's tool_calls");
                    }
                    Some(_) => {}
                }
            }
            calls.extend(message.tool_calls.iter().flatten().filter_map(|Object(call)| call.id()));
        }
    }

    fn check(&self, index: usize, fields: &mut Fields) {
        let calls = self.tool_calls.as_deref().unwrap_or_default();
        let pointer = format!("/messages/{index}");
        match &self.content {
            Some(content) => content.check(&format!("{pointer}/content"), fields),
            None if !calls.is_empty() => {}
            None => fields.refuse(format!("{pointer}/content"), "must be a string or a list of parts"),
        }
        ToolCallBody::check_all(calls, self.role.0, &pointer, fields);
    }

    pub(super) async fn into_message(self, index: usize, app: &App) -> error::Result<Message> {
        let content = self.content.unwrap_or(Content::Text(String::new()));
        let parts = content.into_parts(&format!("/messages/{index}/content"));
        Ok(Message {
            content: open_parts(parts, app).await?,
            tool_calls: self
                .tool_calls
                .into_iter()
                .flatten()
                .map(|Object(call)| ToolCall::from(call))
                .collect(),
            tool_call_id: self.tool_call_id,
            ..Message::new(self.role.0.into(), "")
        })
    }
}

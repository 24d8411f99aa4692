//! Items of a conversation, and the messages that a model reads for them.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::item::{ItemBody, ItemRole, ItemStatus, OutputBody, PartBody};
use crate::types::{JsonText, Message, Part, Role, ToolCall};

/// An item, its images decoded.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) kind: ItemKind,
}

pub(super) enum ItemKind {
    Message {
        role: ItemRole,
        content: Vec<Part>,
    },
    Call {
        call_id: String,
        name: String,
        arguments: JsonText,
    },
    CallOutput {
        call_id: String,
        output: Vec<Part>,
        /// Whether it was a text and not a list of parts.
        is_text: bool,
    },
    Reasoning {
        content: Vec<Part>,
    },
}

impl ItemKind {
    /// Beginning of the ids of such items.
    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::Message { .. } => "msg",
            Self::Call { .. } => "fc",
            Self::CallOutput { .. } => "fco",
            Self::Reasoning { .. } => "rs",
        }
    }
}

/// The conversation of which these are the items. The instructions and the system messages at its beginning become
/// one, because many chat templates have room for no more. What was thought is left out.
pub(super) fn messages<'a>(
    instructions: Option<&str>,
    items: impl IntoIterator<Item = &'a Item>,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(instructions.map(|text| Message::new(Role::System, text)));
    // Whether the next call belongs to the last message.
    let mut is_calling = false;
    for Item { kind, .. } in items {
        match kind {
            ItemKind::Message { role, content } => {
                let role = Role::from(*role);
                let message = Message { content: content.clone(), ..Message::new(role, "") };
                match &mut messages[..] {
                    [first] if first.role == Role::System && role == Role::System => {
                        *first = Message::new(role, format!("{}\n\n{}", first.text(), message.text()));
                    }
                    _ => messages.push(message),
                }
                is_calling = role == Role::Assistant;
            }
            ItemKind::Call { call_id, name, arguments } => {
                if !is_calling {
                    messages.push(Message::new(Role::Assistant, ""));
                }
                let call =
                    ToolCall { id: Some(call_id.clone()), name: name.clone(), arguments: arguments.clone() };
                messages.last_mut().expect("one was just added").tool_calls.push(call);
                is_calling = true;
            }
            ItemKind::CallOutput { call_id, output, .. } => {
                messages.push(Message {
                    content: output.clone(),
                    tool_call_id: Some(call_id.clone()),
                    ..Message::new(Role::Tool, "")
                });
                is_calling = false;
            }
            ItemKind::Reasoning { .. } => {}
        }
    }
    messages
}

impl From<ItemRole> for Role {
    fn from(role: ItemRole) -> Self {
        match role {
            ItemRole::System | ItemRole::Developer => Self::System,
            ItemRole::User => Self::User,
            ItemRole::Assistant => Self::Assistant,
        }
    }
}

impl<'a> From<&'a Item> for ItemBody<'a> {
    fn from(Item { id, kind }: &'a Item) -> Self {
        let (id, status) = (id.into(), ItemStatus::Completed);
        match kind {
            ItemKind::Message { role, content } => {
                let is_output = *role == ItemRole::Assistant;
                ItemBody::Message { id, status, role: *role, content: parts(content, is_output) }
            }
            ItemKind::Call { call_id, name, arguments } => ItemBody::FunctionCall {
                id,
                status,
                call_id: call_id.into(),
                name,
                arguments: arguments.get(),
            },
            ItemKind::CallOutput { call_id, output, is_text } => {
                let output = match &output[..] {
                    [Part::Text(text)] if *is_text => OutputBody::Text(text),
                    output => OutputBody::Parts(parts(output, false)),
                };
                ItemBody::FunctionCallOutput { id, status, call_id, output }
            }
            ItemKind::Reasoning { content } => {
                let texts = content.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(PartBody::ReasoningText { text }),
                    Part::Image(_) => None,
                });
                ItemBody::Reasoning { id, status, summary: Vec::new(), content: texts.collect() }
            }
        }
    }
}

fn parts<'a>(parts: &'a [Part], is_output: bool) -> Vec<PartBody<'a>> {
    let part = |part: &'a Part| match part {
        Part::Text(text) if is_output => {
            PartBody::OutputText { text, annotations: Vec::new(), logprobs: None }
        }
        Part::Text(text) => PartBody::InputText { text },
        Part::Image(image) => {
            let file = STANDARD.encode(image.file());
            PartBody::InputImage { image_url: format!("data:{};base64,{file}", image.media_type()) }
        }
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: ItemRole, text: &str) -> ItemKind {
        ItemKind::Message { role, content: vec![Part::Text(text.to_owned())] }
    }

    fn call(id: &str) -> ItemKind {
        ItemKind::Call { call_id: id.to_owned(), name: "f".to_owned(), arguments: JsonText::empty_object() }
    }

    fn output(id: &str) -> ItemKind {
        ItemKind::CallOutput { call_id: id.to_owned(), output: vec![Part::Text("5".into())], is_text: true }
    }

    fn turns(instructions: Option<&str>, kinds: Vec<ItemKind>) -> Vec<(Role, String, usize)> {
        let items: Vec<Item> = kinds.into_iter().map(|kind| Item { id: String::new(), kind }).collect();
        let messages = messages(instructions, &items);
        messages.iter().map(|m| (m.role, m.text().into_owned(), m.tool_calls.len())).collect()
    }

    #[test]
    fn instructions_and_system_messages_at_the_beginning_are_one() {
        let (system, user) = (|| message(ItemRole::System, "b"), || message(ItemRole::User, "?"));
        let of = |role, text: &str| (role, text.to_owned(), 0);
        assert_eq!(
            turns(Some("a"), vec![system(), message(ItemRole::Developer, "c"), user(), system()]),
            [of(Role::System, "a\n\nb\n\nc"), of(Role::User, "?"), of(Role::System, "b")]
        );
        assert_eq!(turns(None, vec![user(), system()]), [of(Role::User, "?"), of(Role::System, "b")]);
    }

    #[test]
    fn calls_belong_to_the_message_before_them() {
        let thought = || ItemKind::Reasoning { content: Vec::new() };
        let kinds = vec![
            message(ItemRole::User, "?"),
            thought(),
            message(ItemRole::Assistant, "let me see"),
            call("1"),
            thought(),
            call("2"),
            output("1"),
            output("2"),
            call("3"),
            output("3"),
        ];
        let of = |role, text: &str, calls| (role, text.to_owned(), calls);
        let expected = [
            of(Role::User, "?", 0),
            of(Role::Assistant, "let me see", 2),
            of(Role::Tool, "5", 0),
            of(Role::Tool, "5", 0),
            of(Role::Assistant, "", 1),
            of(Role::Tool, "5", 0),
        ];
        assert_eq!(turns(None, kinds), expected);
    }
}

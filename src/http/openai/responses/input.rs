//! Items of a request's input.

use std::collections::HashSet;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    content::Content,
    conversation::{Item, ItemKind},
    item::ItemRole,
    text_or_list::TextOrList,
};
use crate::{
    app::App,
    error,
    http::{
        extract::{
            fields::Fields,
            images::{check_images, open_parts},
            object::Word,
        },
        ignored::Ignored,
    },
    types::{JsonText, Part, ToolCall},
};

pub(super) type Input = TextOrList<InputItem>;

/// An item of the conversation: a message, a call of a function, the output of one, or reasoning.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputItem {
    /// Defaults to `message`.
    #[schema(value_type = Option<ItemType>)]
    r#type: Option<Word<ItemType>>,
    id: Option<String>,
    /// For a message.
    #[schema(value_type = Option<ItemRole>)]
    role: Option<Word<ItemRole>>,
    /// For a message: a text, or a list of parts.
    #[schema(value_type = Option<Content>)]
    content: Option<Content>,
    /// For a call and its output.
    call_id: Option<String>,
    /// For a call: name of the function.
    name: Option<String>,
    /// For a call: a JSON object in a string.
    arguments: Option<String>,
    /// For an output: a text, or a list of parts.
    #[schema(value_type = Option<Content>)]
    output: Option<Content>,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "summary")]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    _summary: Ignored,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "encrypted_content")]
    #[schema(value_type = Option<String>)]
    _encrypted_content: Ignored,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "status")]
    #[schema(value_type = Option<String>)]
    _status: Ignored,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "phase")]
    #[schema(value_type = Option<String>)]
    _phase: Ignored,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ItemType {
    Message,
    FunctionCall,
    FunctionCallOutput,
    /// The model does not see it again.
    Reasoning,
    /// An item of a stored response, by its id.
    ItemReference,
}

impl ItemType {
    /// Fields that an item needs.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Message => &["role", "content"],
            Self::FunctionCall => &["call_id", "name", "arguments"],
            Self::FunctionCallOutput => &["call_id", "output"],
            Self::Reasoning => &[],
            Self::ItemReference => &["id"],
        }
    }

    /// Further fields that it may have.
    fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Message | Self::FunctionCall => &["id"],
            Self::FunctionCallOutput => &["id", "name"],
            Self::Reasoning => &["id", "content"],
            Self::ItemReference => &[],
        }
    }
}

impl InputItem {
    pub(super) fn user(text: String) -> Self {
        Self { role: Some(Word(ItemRole::User)), content: Some(Content::Text(text)), ..Self::default() }
    }

    fn of_type(&self) -> ItemType {
        self.r#type.map_or(ItemType::Message, |Word(of)| of)
    }

    pub(super) fn images(&self) -> usize {
        [&self.content, &self.output].into_iter().flatten().map(Content::images).sum()
    }

    pub(super) fn has_image_detail(&self) -> bool {
        [&self.content, &self.output].into_iter().flatten().any(Content::has_detail)
    }

    /// The id of the item that this one stands for.
    pub(super) fn reference(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.of_type() == ItemType::ItemReference)
    }

    pub(super) fn check(&self, pointer: &str, fields: &mut Fields) {
        let of = self.of_type();
        let given = [
            ("id", self.id.is_some()),
            ("role", self.role.is_some()),
            ("content", self.content.is_some()),
            ("call_id", self.call_id.is_some()),
            ("name", self.name.is_some()),
            ("arguments", self.arguments.is_some()),
            ("output", self.output.is_some()),
        ];
        for (name, is_given) in given {
            match (of.needs().contains(&name), of.takes().contains(&name), is_given) {
                (true, _, false) => {
                    fields.refuse(format!("{pointer}/{name}"), "is required in an item of this type");
                }
                (false, false, true) => {
                    fields.refuse(format!("{pointer}/{name}"), "is not allowed in an item of this type");
                }
                _ => {}
            }
        }
        for (name, content) in [("content", &self.content), ("output", &self.output)] {
            if let Some(content) = content {
                content.check(&format!("{pointer}/{name}"), fields);
            }
        }
        if let Some(arguments) = &self.arguments {
            let place = format!("{pointer}/arguments");
            match read_arguments(arguments).map(|arguments| arguments.repeated_name()) {
                None => fields.refuse(place, "must be a string that contains an object as JSON"),
                Some(Some(name)) => fields.refuse(place + &name, "is given twice"),
                Some(None) => {}
            }
        }
    }

    /// Opens the images in it. The item gets this id if it has none; `pointer` is where it stands.
    async fn open(self, id: String, pointer: &str, app: &App) -> error::Result<Item> {
        let open = async |content: Option<Content>, name: &str| -> error::Result<Vec<Part>> {
            let parts = content.map(|content| content.into_parts(&format!("{pointer}/{name}")));
            open_parts(parts.unwrap_or_default(), app).await
        };
        let call_id = self.call_id.unwrap_or_default();
        let kind = match self.r#type.map_or(ItemType::Message, |Word(of)| of) {
            ItemType::Message => {
                let role = self.role.map_or(ItemRole::User, |Word(role)| role);
                ItemKind::Message { role, content: open(self.content, "content").await? }
            }
            ItemType::FunctionCall => {
                let arguments = self.arguments.as_deref().and_then(read_arguments).unwrap_or_default();
                ItemKind::Call { call_id, name: self.name.unwrap_or_default(), arguments }
            }
            ItemType::FunctionCallOutput => {
                let is_text = matches!(self.output, Some(Content::Text(_)));
                ItemKind::CallOutput { call_id, output: open(self.output, "output").await?, is_text }
            }
            ItemType::Reasoning | ItemType::ItemReference => {
                ItemKind::Reasoning { content: open(self.content, "content").await? }
            }
        };
        Ok(Item { id: self.id.unwrap_or(id), kind })
    }
}

/// The arguments of a call, which are a JSON object in a string.
fn read_arguments(text: &str) -> Option<JsonText> {
    ToolCall::arguments(&serde_json::Value::from(text).into())
}

/// The input of a request with the items that it continues.
pub(super) struct Items {
    /// Items of earlier responses, which have been checked.
    pub(super) earlier: Vec<InputItem>,
    pub(super) new: Vec<InputItem>,
}

impl Items {
    pub(super) fn images(&self) -> usize {
        self.earlier.iter().chain(&self.new).map(InputItem::images).sum()
    }

    /// Checks each item by itself, and that every output answers an earlier call.
    pub(super) fn check(&self, is_text: bool, fields: &mut Fields) {
        check_images(self.images(), "/input", fields);
        let mut calls: HashSet<&str> = HashSet::new();
        let call = |item: &InputItem| item.of_type() == ItemType::FunctionCall;
        calls
            .extend(self.earlier.iter().filter(|item| call(item)).filter_map(|item| item.call_id.as_deref()));
        if is_text {
            return;
        }
        if self.new.is_empty() {
            fields.refuse("/input", "must have at least one item");
        }
        for (index, item) in self.new.iter().enumerate() {
            if fields.is_full() {
                return;
            }
            item.check(&format!("/input/{index}"), fields);
            let Some(id) = item.call_id.as_deref() else { continue };
            if call(item) {
                calls.insert(id);
            } else if !calls.contains(id) {
                let detail = "must be the call_id of an earlier function_call, in the input or in the response that it continues";
                fields.refuse(format!("/input/{index}/call_id"), detail);
            }
        }
    }

    /// Opens the images, those of earlier items first. New items without an id get one of `id`.
    pub(super) async fn open(
        self,
        is_text: bool,
        id: impl Fn(usize, &ItemKind) -> String,
        app: &App,
    ) -> error::Result<(Vec<Item>, Vec<Item>)> {
        let (mut earlier, mut new) = (Vec::new(), Vec::new());
        for item in self.earlier {
            earlier.push(item.open(String::new(), "/previous_response_id", app).await?);
        }
        for (index, item) in self.new.into_iter().enumerate() {
            let pointer = if is_text { "/input".to_owned() } else { format!("/input/{index}") };
            let mut item = item.open(String::new(), &pointer, app).await?;
            if item.id.is_empty() {
                item.id = id(index, &item.kind);
            }
            new.push(item);
        }
        Ok((earlier, new))
    }
}

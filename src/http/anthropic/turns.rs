//! From messages of content blocks to our messages, where each result of a tool is one of its own.

use super::{
    blocks::Blocks,
    content::{BlockType, ContentBlock, InputMessage, InputRole, ResultBlock, SystemContent},
    image::AnthropicImage,
};
use crate::{
    app::App,
    error::{Error, Result},
    http::extract::{
        images::{ReadPart, open_parts},
        object::Object,
    },
    types::{Message, Role, ToolCall},
};

/// A conversation whose images are still encoded.
#[derive(Default)]
pub(super) struct Turns(Vec<Turn>);

struct Turn {
    role: Role,
    parts: Vec<ReadPart>,
    tool_calls: Vec<ToolCall>,
    /// For the result of a tool: the call that it answers.
    answers: Option<String>,
    place: Place,
}

/// Place of one of our messages in the request: a message by its number, or the system prompt.
type Place = Option<usize>;

/// Places of our messages in the request.
pub(super) struct Places(Vec<Place>);

impl Turns {
    pub(super) fn new(system: Option<SystemContent>, messages: Vec<Object<InputMessage>>) -> Self {
        let mut turns = Self::default();
        match system {
            None => {}
            Some(Blocks::Text(text)) if text.is_empty() => {}
            Some(Blocks::Text(text)) => turns.text(Role::System, text, None),
            Some(Blocks::List(blocks)) => {
                blocks.into_iter().for_each(|Object(block)| turns.text(Role::System, block.text, None));
            }
        }
        for (index, Object(message)) in messages.into_iter().enumerate() {
            turns.message(message, index);
        }
        turns
    }

    fn message(&mut self, message: InputMessage, number: usize) {
        let place = Some(number);
        let role = match message.role.0 {
            InputRole::User => Role::User,
            InputRole::Assistant => Role::Assistant,
        };
        let blocks = match message.content {
            Blocks::Text(text) => return self.text(role, text, place),
            Blocks::List(blocks) => blocks,
        };
        // Of results: chat templates have no place for images there, so that they follow in the user's turn.
        let mut images = Vec::new();
        for (index, Object(block)) in blocks.into_iter().enumerate() {
            let pointer = format!("/messages/{number}/content/{index}");
            if block.r#type.0 != BlockType::ToolResult {
                images.drain(..).for_each(|image| self.turn(role, place).parts.push(image));
            }
            self.block(role, block, place, &pointer, &mut images);
        }
        images.drain(..).for_each(|image| self.turn(role, place).parts.push(image));
    }

    fn block(
        &mut self,
        role: Role,
        block: ContentBlock,
        place: Place,
        pointer: &str,
        images: &mut Vec<ReadPart>,
    ) {
        match block.r#type.0 {
            BlockType::Text => self.text(role, block.text.unwrap_or_default(), place),
            BlockType::Image => {
                let image = block.source.and_then(|source| image(*source, pointer));
                self.turn(role, place).parts.extend(image);
            }
            BlockType::ToolUse => {
                let ContentBlock { id, name, input, .. } = block;
                let (id, name) = (id.map(String::from), name.map(String::from).unwrap_or_default());
                let arguments = input.unwrap_or_default();
                self.turn(role, place).tool_calls.push(ToolCall { id, name, arguments });
            }
            BlockType::ToolResult => images.extend(self.result(block, place, pointer)),
            // Models do not see earlier reasoning again.
            BlockType::Thinking | BlockType::RedactedThinking => {}
        }
    }

    /// Adds a result and returns the images in it.
    fn result(&mut self, block: ContentBlock, place: Place, pointer: &str) -> Vec<ReadPart> {
        self.0.push(Turn { answers: block.tool_use_id.map(String::from), ..Turn::new(Role::Tool, place) });
        let blocks = match block.content.map(|content| *content) {
            None => Vec::new(),
            Some(Blocks::Text(text)) => {
                self.text(Role::Tool, text, place);
                Vec::new()
            }
            Some(Blocks::List(blocks)) => blocks,
        };
        let mut images = Vec::new();
        for (index, Object(ResultBlock { text, source, .. })) in blocks.into_iter().enumerate() {
            text.into_iter().for_each(|text| self.text(Role::Tool, text, place));
            let pointer = format!("{pointer}/content/{index}");
            images.extend(source.and_then(|source| image(*source, &pointer)));
        }
        images
    }

    /// Adds a text, on lines of its own, to the turn of this role.
    fn text(&mut self, role: Role, text: String, place: Place) {
        let parts = &mut self.turn(role, place).parts;
        match parts.last_mut() {
            Some(ReadPart::Text(last)) => {
                last.push('\n');
                last.push_str(&text);
            }
            _ => parts.push(ReadPart::Text(text)),
        }
    }

    /// The last turn, or a new one when that is of another role: turns of one role that follow each other are one.
    fn turn(&mut self, role: Role, place: Place) -> &mut Turn {
        if self.0.last().is_none_or(|last| last.role != role) {
            self.0.push(Turn::new(role, place));
        }
        self.0.last_mut().expect("one has just been added")
    }

    /// Decodes the images.
    ///
    /// # Errors
    /// Those of `App::open_image`.
    pub(super) async fn open(self, app: &App) -> Result<(Vec<Message>, Places)> {
        let (mut messages, mut places) = (Vec::with_capacity(self.0.len()), Vec::with_capacity(self.0.len()));
        for Turn { role, parts, tool_calls, answers, place } in self.0 {
            let content = open_parts(parts, app).await?;
            messages.push(Message { content, tool_calls, tool_call_id: answers, ..Message::new(role, "") });
            places.push(place);
        }
        Ok((messages, Places(places)))
    }
}

impl Turn {
    fn new(role: Role, place: Place) -> Self {
        // Nearly every turn has one part.
        Self { role, parts: Vec::with_capacity(1), tool_calls: Vec::new(), answers: None, place }
    }
}

impl Places {
    /// Returns the error with the names of fields in Anthropic's API.
    pub(super) fn translate(&self, error: Error) -> Error {
        error.at(|pointer| self.of(pointer))
    }

    fn of(&self, pointer: &str) -> String {
        if let Some(place) = pointer.strip_prefix("/format") {
            let schema = if place.is_empty() { "" } else { "/schema" };
            return format!("/output_config/format{schema}{place}");
        }
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        match parts[..] {
            ["think"] => "/thinking".to_owned(),
            ["messages", index, ..] => {
                let place = index.parse().ok().and_then(|index: usize| self.0.get(index));
                match place {
                    None => pointer.to_owned(),
                    Some(None) => "/system".to_owned(),
                    Some(Some(number)) => format!("/messages/{number}/content"),
                }
            }
            ["tools", index, "function", "name"] => format!("/tools/{index}/name"),
            ["tools", _, "function", ..] => pointer.replacen("/function/parameters", "/input_schema", 1),
            _ => pointer.to_owned(),
        }
    }
}

fn image(Object(source): Object<AnthropicImage>, pointer: &str) -> Option<ReadPart> {
    source.into_image().map(|(place, image)| ReadPart::Image(format!("{pointer}/source/{place}"), image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_anthropics_names() {
        let places = Places(vec![None, Some(0)]);
        for (ours, theirs) in [
            ("/messages", "/messages"),
            ("/messages/0/content", "/system"),
            ("/messages/1/images", "/messages/0/content"),
            ("/think", "/thinking"),
            ("/tool_choice", "/tool_choice"),
            ("/tools/2/function/name", "/tools/2/name"),
            ("/tools/2/function/parameters/properties/a", "/tools/2/input_schema/properties/a"),
            ("/format", "/output_config/format"),
            ("/format/properties/a", "/output_config/format/schema/properties/a"),
        ] {
            assert_eq!(places.of(ours), theirs);
        }
    }
}

//! A message of a conversation.

use std::{borrow::Cow, mem};

use super::ToolCall;
use crate::images::Image;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The name that every vendor's JSON uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub role: Role,
    /// Texts and images in the order in which the model reads them. A backend whose API has no such order
    /// (Ollama) gets `text` and `images`.
    pub content: Vec<Part>,
    /// Tool calls the assistant made in an earlier turn.
    pub tool_calls: Vec<ToolCall>,
    /// For `Role::Tool`: the call that this message answers.
    pub tool_call_id: Option<String>,
    /// For `Role::Tool`: the name of the tool that was called.
    pub tool_name: Option<String>,
}

/// A part of a message's content.
#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Image(Image),
}

impl Message {
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Part::Text(text.into())],
            tool_calls: Vec::new(),
            tool_call_id: None,
            tool_name: None,
        }
    }

    /// Puts images before the text: LLaVA and its kin were trained on the question after the image.
    #[must_use]
    pub fn with_images(mut self, images: Vec<Image>) -> Self {
        self.content.splice(..0, images.into_iter().map(Part::Image));
        self
    }

    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.content.iter().filter_map(|part| if let Part::Text(text) = part { Some(&**text) } else { None })
    }

    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.content.iter().filter_map(|part| if let Part::Image(image) = part { Some(image) } else { None })
    }

    /// Returns all texts as one, each on lines of its own.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.texts();
        match (texts.next(), texts.next()) {
            (first, None) => first.unwrap_or_default().into(),
            _ => self.texts().collect::<Vec<_>>().join("\n").into(),
        }
    }

    /// Whether it is, as the last message, the beginning of the answer.
    pub fn is_prefill(&self) -> bool {
        self.role == Role::Assistant && self.tool_calls.is_empty()
    }

    /// Gives each answer of a tool the id and the name of its call, and puts answers that follow one another in the
    /// order of their calls, because many chat templates do not show ids to the model.
    pub fn order_answers(messages: &mut [Self]) {
        let mut open: Vec<Option<&ToolCall>> = Vec::new();
        for turns in messages.chunk_by_mut(|a, b| (a.role == Role::Tool) == (b.role == Role::Tool)) {
            if turns[0].role != Role::Tool {
                let calls: Vec<_> = turns.iter().flat_map(|turn| &turn.tool_calls).map(Some).collect();
                if !calls.is_empty() {
                    open = calls;
                }
                continue;
            }
            let take = |turn: &mut Self| mem::replace(turn, Self::new(Role::Tool, ""));
            let mut placed: Vec<_> = turns.iter_mut().map(|turn| take(turn).placed(&mut open)).collect();
            placed.sort_by_key(|(place, _)| *place);
            for (turn, (_, answer)) in turns.iter_mut().zip(placed) {
                *turn = answer;
            }
        }
    }

    /// Returns the answer of a tool with the place of the call that it answers, the last place without one: the call
    /// whose id or else name it has, or with neither the first that is open.
    fn placed(mut self, open: &mut [Option<&ToolCall>]) -> (usize, Self) {
        let is_answered = |call: &ToolCall| match (&self.tool_call_id, &self.tool_name) {
            (Some(id), _) => call.id.as_ref() == Some(id),
            (None, Some(name)) => call.name == *name,
            (None, None) => true,
        };
        let Some(place) = open.iter().position(|call| call.is_some_and(is_answered)) else {
            return (usize::MAX, self);
        };
        if let Some(call) = open[place].take() {
            self.tool_call_id = self.tool_call_id.or_else(|| call.id.clone());
            self.tool_name.get_or_insert_with(|| call.name.clone());
        }
        (place, self)
    }

    /// Names the tool in each of its answers that only has the id of a call, as some models want it.
    pub fn name_tools(messages: &mut [Self]) {
        for at in 1..messages.len() {
            let (earlier, rest) = messages.split_at_mut(at);
            let message = &mut rest[0];
            if message.role != Role::Tool || message.tool_name.is_some() || message.tool_call_id.is_none() {
                continue;
            }
            let mut calls = earlier.iter().rev().flat_map(|message| &message.tool_calls);
            let call = calls.find(|call| call.id == message.tool_call_id);
            message.tool_name = call.map(|call| call.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::JsonText;

    #[test]
    fn texts_and_images_are_found_in_their_order() {
        let text = |text: &str| Part::Text(text.to_owned());
        let image = |width| Part::Image(Image::black(width));
        let user = |content| Message { content, ..Message::new(Role::User, "") };
        let mixed = user(vec![text("a"), image(1), text(""), image(2), text("b")]);
        assert_eq!(mixed.text(), "a\n\nb");
        assert_eq!(mixed.images().map(Image::size).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
        assert_eq!(
            (user(Vec::new()).text(), user(vec![image(1), text("a")]).text()),
            ("".into(), "a".into())
        );
        let about = Message::new(Role::User, "?").with_images(vec![Image::black(1), Image::black(2)]);
        assert!(matches!(&about.content[..], [Part::Image(_), Part::Image(_), Part::Text(_)]));
    }

    #[test]
    fn answers_have_the_order_of_their_calls() {
        let call = |id: Option<&str>, name: &str| ToolCall {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            arguments: JsonText::empty_object(),
        };
        let asks = |tool_calls| Message { tool_calls, ..Message::new(Role::Assistant, "") };
        let answer = || Message::new(Role::Tool, "4");
        let by_name = |name: &str| Message { tool_name: Some(name.to_owned()), ..answer() };
        let by_id = |id: &str| Message { tool_call_id: Some(id.to_owned()), ..answer() };
        let (a, b) = ((Some("1"), Some("a")), (Some("2"), Some("b")));
        let unnamed = |name| (None, Some(name));
        for (calls, answers, expected) in [
            (
                vec![call(a.0, "a"), call(b.0, "b"), call(None, "c")],
                vec![by_name("b"), answer(), answer(), answer()],
                vec![a, b, unnamed("c"), (None, None)],
            ),
            (vec![call(a.0, "a"), call(b.0, "b")], vec![by_id("2"), answer()], vec![a, b]),
            (
                vec![call(a.0, "a"), call(b.0, "b")],
                vec![by_id("3"), by_id("2"), by_id("1")],
                vec![a, b, (Some("3"), None)],
            ),
            (
                vec![call(None, "f"), call(None, "g"), call(None, "f")],
                vec![by_name("g"), by_name("f"), by_name("f")],
                vec![unnamed("f"), unnamed("g"), unnamed("f")],
            ),
        ] {
            let mut turns = vec![asks(calls)];
            turns.extend(answers);
            Message::order_answers(&mut turns);
            let told =
                turns[1..].iter().map(|turn| (turn.tool_call_id.as_deref(), turn.tool_name.as_deref()));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn answers_stay_in_their_turn_with_their_content() {
        let call = |id: &str| ToolCall {
            id: Some(id.to_owned()),
            name: "f".to_owned(),
            arguments: JsonText::empty_object(),
        };
        let asks = |calls| Message { tool_calls: calls, ..Message::new(Role::Assistant, "") };
        let answer = |id: &str, text: &str| Message {
            tool_call_id: Some(id.to_owned()),
            ..Message::new(Role::Tool, text)
        };
        let mut turns = vec![
            Message::new(Role::User, "?"),
            asks(vec![call("1"), call("2"), call("3")]),
            answer("3", "c"),
            Message::new(Role::User, "!"),
            answer("2", "b"),
            answer("1", "a"),
            asks(vec![call("4")]),
            answer("4", "d"),
        ];
        Message::order_answers(&mut turns);
        let texts: Vec<_> = turns.iter().map(Message::text).collect();
        assert_eq!(texts, ["?", "", "c", "!", "a", "b", "", "d"]);
    }

    #[test]
    fn answers_of_tools_are_named_by_their_calls() {
        let call = |id: &str, name: &str| ToolCall {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            arguments: JsonText::empty_object(),
        };
        let asks = |calls| Message { tool_calls: calls, ..Message::new(Role::Assistant, "") };
        let answers =
            |id: &str| Message { tool_call_id: Some(id.to_owned()), ..Message::new(Role::Tool, "") };
        let named = Message { tool_name: Some("own".to_owned()), ..answers("1") };
        let mut turns = vec![
            asks(vec![call("1", "a"), call("2", "b")]),
            answers("2"),
            answers("1"),
            named,
            asks(vec![call("1", "c")]),
            answers("1"),
            answers("3"),
        ];
        Message::name_tools(&mut turns);
        let names: Vec<_> = turns.iter().map(|turn| turn.tool_name.as_deref()).collect();
        assert_eq!(names, [None, Some("b"), Some("a"), Some("own"), None, Some("c"), None]);
    }
}

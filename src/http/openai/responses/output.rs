//! Output of a response while it is made: events in, items out.

use super::item::{ItemBody, ItemRole, ItemStatus, PartBody};
use crate::{
    http::openai::logprobs::TokenBody,
    types::{ChatEvent, TokenLogprob, ToolCall},
};

/// Items so far, of which the last may grow.
pub(super) struct Output {
    /// Digits that the ids of the items share.
    digits: String,
    /// Number of the first item.
    first: usize,
    /// Number of most likely tokens to tell at each position; none without log probabilities.
    top_logprobs: Option<usize>,
    items: Vec<OutputItem>,
    /// Of the text that comes next.
    logprobs: Vec<TokenLogprob>,
}

pub(super) enum OutputItem {
    Reasoning(String),
    Message { text: String, logprobs: Vec<TokenLogprob> },
    Call(Box<ToolCall>),
}

impl Output {
    pub(super) fn new(digits: String, first: usize, top_logprobs: Option<usize>) -> Self {
        Self { digits, first, top_logprobs, items: Vec::new(), logprobs: Vec::new() }
    }

    /// Whether the event begins a new item.
    pub(super) fn adds(&self, event: &ChatEvent) -> bool {
        !matches!(
            (event, self.items.last()),
            (ChatEvent::Text(_), Some(OutputItem::Message { .. }))
                | (ChatEvent::Thinking(_), Some(OutputItem::Reasoning(_)))
                | (ChatEvent::Logprobs(_) | ChatEvent::Done(_), _)
        )
    }

    /// Takes an event. Returns how many of the last message's log probabilities are of its text.
    pub(super) fn push(&mut self, event: &ChatEvent) -> usize {
        if self.adds(event) {
            self.items.push(match event {
                ChatEvent::Thinking(_) => OutputItem::Reasoning(String::new()),
                ChatEvent::ToolCall(call) => OutputItem::Call(call.clone()),
                _ => OutputItem::Message { text: String::new(), logprobs: Vec::new() },
            });
        }
        match (event, self.items.last_mut()) {
            (ChatEvent::Text(more), Some(OutputItem::Message { text, logprobs })) => {
                text.push_str(more);
                let fresh = self.logprobs.len();
                logprobs.append(&mut self.logprobs);
                return fresh;
            }
            (ChatEvent::Thinking(more), Some(OutputItem::Reasoning(text))) => text.push_str(more),
            (ChatEvent::Logprobs(tokens), _) => self.logprobs.extend_from_slice(tokens),
            _ => {}
        }
        0
    }

    /// Index of the last item.
    pub(super) fn index(&self) -> usize {
        self.items.len().saturating_sub(1)
    }

    pub(super) fn last(&self) -> Option<&OutputItem> {
        self.items.last()
    }

    /// Id of the item at an index.
    pub(super) fn id(&self, index: usize) -> String {
        let prefix = match &self.items[index] {
            OutputItem::Reasoning(_) => "rs",
            OutputItem::Message { .. } => "msg",
            OutputItem::Call(_) => "fc",
        };
        item_id(prefix, &self.digits, self.first + index)
    }

    /// The item at an index as it is in this status.
    pub(super) fn item(&self, index: usize, status: ItemStatus) -> ItemBody<'_> {
        let id = self.id(index).into();
        match &self.items[index] {
            OutputItem::Reasoning(_) => {
                ItemBody::Reasoning { id, status, summary: Vec::new(), content: self.parts(index, status) }
            }
            OutputItem::Message { .. } => {
                let (role, content) = (ItemRole::Assistant, self.parts(index, status));
                ItemBody::Message { id, status, role, content }
            }
            OutputItem::Call(call) => {
                let made = || format!("call_{}{:03}", self.digits, self.first + index);
                let call_id = call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(made).into();
                let arguments = if status == ItemStatus::InProgress { "" } else { call.arguments.get() };
                ItemBody::FunctionCall { id, status, call_id, name: &call.name, arguments }
            }
        }
    }

    fn parts(&self, index: usize, status: ItemStatus) -> Vec<PartBody<'_>> {
        match status {
            ItemStatus::InProgress => Vec::new(),
            _ => self.part(index).into_iter().collect(),
        }
    }

    /// The content of an item, which has one part; none of a call.
    pub(super) fn part(&self, index: usize) -> Option<PartBody<'_>> {
        match &self.items[index] {
            OutputItem::Reasoning(text) => Some(PartBody::ReasoningText { text }),
            OutputItem::Message { text, logprobs } => {
                let logprobs = self.top_logprobs.map(|top| TokenBody::list(logprobs, top));
                Some(PartBody::OutputText { text, annotations: Vec::new(), logprobs })
            }
            OutputItem::Call(_) => None,
        }
    }

    /// All items, complete but for the last one where the answer was cut off.
    pub(super) fn all(&self, last: ItemStatus) -> Vec<ItemBody<'_>> {
        let status = |index| if index == self.index() { last } else { ItemStatus::Completed };
        (0..self.items.len()).map(|index| self.item(index, status(index))).collect()
    }
}

/// Id of the item with this number, inputs included, of the response with these digits.
pub(super) fn item_id(prefix: &str, digits: &str, number: usize) -> String {
    format!("{prefix}_{digits}{number:03}")
}

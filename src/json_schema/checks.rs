//! Checks of the answer to one request against its schemas.

use serde_json::Value;

use super::answer::Rules;
use crate::{
    error::{Error, Kind, Result},
    types::{ChatEvent, Done, ToolCall},
};

/// Schemas of a request, and its answer so far.
#[derive(Clone, Debug)]
pub struct Checks {
    pub(super) answer: Option<Rules>,
    /// Schemas of the tools' arguments, by name.
    pub(super) tools: Vec<(String, Rules)>,
    /// Whether stop sequences may end the answer.
    may_stop: bool,
    said: String,
    has_called: bool,
}

impl Checks {
    pub(super) fn new(stop: &[String]) -> Self {
        Self {
            answer: None,
            tools: Vec::new(),
            may_stop: !stop.is_empty(),
            said: String::new(),
            has_called: false,
        }
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.answer.is_none() && self.tools.is_empty()
    }

    /// Adds one event of the answer.
    ///
    /// # Errors
    /// `BadGateway` when the complete answer does not match.
    pub fn take(&mut self, event: &ChatEvent) -> Result<()> {
        match event {
            ChatEvent::Text(text) if self.answer.is_some() => self.said.push_str(text),
            ChatEvent::ToolCall(call) => {
                self.has_called = true;
                return self.arguments(call);
            }
            ChatEvent::Done(done) => return self.check_complete(done),
            ChatEvent::Text(_) | ChatEvent::Thinking(_) | ChatEvent::Logprobs(_) => {}
        }
        Ok(())
    }

    /// Checks the arguments of a call by the tool's parameters.
    ///
    /// # Errors
    /// `BadGateway` when they do not match.
    pub fn arguments(&self, call: &ToolCall) -> Result<()> {
        let Some((_, rules)) = self.tools.iter().find(|(name, _)| *name == call.name) else { return Ok(()) };
        let fault = match serde_json::from_str::<Value>(call.arguments.get()) {
            Ok(arguments) => rules.check(&arguments).err(),
            Err(_) => Some("they are not valid JSON".to_owned()),
        };
        fault.map_or(Ok(()), |fault| {
            let message =
                format!("The model called a tool with arguments that do not match its parameters: {fault}.");
            Err(Error::new(Kind::BadGateway, message))
        })
    }

    fn check_complete(&self, done: &Done) -> Result<()> {
        let Some(rules) = &self.answer else { return Ok(()) };
        // An answer that was cut off cannot match, and its finish reason says so; with a tool call there may be
        // no answer.
        if done.reason.is_cut_off() || (self.has_called && self.said.trim().is_empty()) {
            return Ok(());
        }
        let fault = match serde_json::from_str::<Value>(&self.said) {
            Ok(answer) => rules.check(&answer).err(),
            Err(error) if self.may_stop && error.is_eof() => None,
            Err(_) => Some("it is not valid JSON".to_owned()),
        };
        fault.map_or(Ok(()), |fault| {
            let message = format!(
                "The model's answer does not match the schema in format: {fault}. Try again, or use a simpler schema."
            );
            Err(Error::new(Kind::BadGateway, message))
        })
    }
}

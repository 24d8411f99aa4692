//! Checks of what a request combines.

use std::collections::HashSet;

use super::{ChatRequest, Format, Message, Prompt, ToolChoice};
use crate::error::{Error, Result};

impl ChatRequest {
    /// # Errors
    /// `Invalid` when two tools have one name, when a tool must be called that is not there, and when the answer must
    /// have a format in which the model could not call a tool or continue the last message, or log
    /// probabilities besides tools.
    pub fn check(&self) -> Result<()> {
        self.check_tools()?;
        self.check_prefill()
    }

    fn check_tools(&self) -> Result<()> {
        let mut names = HashSet::new();
        if let Some(second) = self.tools.iter().position(|tool| !names.insert(&*tool.name)) {
            let pointer = format!("/tools/{second}/function/name");
            return Err(Error::field(pointer, "is the name of an earlier tool; each tool needs its own"));
        }
        self.check_tool_choice()?;
        if self.format != Format::Text && self.offered_tools().next().is_some() {
            let detail = "cannot be combined with tools, since tool calls do not have this format; leave out one of them";
            return Err(Error::field("/format", detail));
        }
        if self.logprobs.is_some() && self.offered_tools().next().is_some() {
            return Err(Error::field("/logprobs", "cannot be combined with tools; leave out one of them"));
        }
        Ok(())
    }

    fn check_tool_choice(&self) -> Result<()> {
        let detail = match self.tool_choice {
            ToolChoice::Auto | ToolChoice::None => return Ok(()),
            ToolChoice::Required => "needs at least one tool",
            ToolChoice::Named(_) => "must name one of the tools",
        };
        if self.offered_tools().next().is_some() { Ok(()) } else { Err(Error::field("/tool_choice", detail)) }
    }

    /// A continuation would have the format, and the answer as a whole would not.
    fn check_prefill(&self) -> Result<()> {
        let field = match (&self.prompt, &self.format) {
            (Prompt::Messages(messages), _) if !messages.last().is_some_and(Message::is_prefill) => {
                return Ok(());
            }
            (Prompt::Completion(_), _) => return Ok(()),
            (_, Format::Text) if self.tool_choice.forces_a_call() => "/tool_choice",
            (_, Format::Text) => return Ok(()),
            _ => "/format",
        };
        Err(Error::field(
            field,
            "cannot be combined with an assistant message at the end, which the answer continues",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{JsonText, Role, Tool};

    #[test]
    fn a_tool_that_must_be_called_is_one_of_the_tools() {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: None,
            parameters: JsonText::empty_object(),
        };
        let (named, none) = (|name: &str| ToolChoice::Named(name.to_owned()), &[][..]);
        for (tool_choice, tools, offered) in [
            (ToolChoice::Auto, none, Some(none)),
            (ToolChoice::Auto, &["a", "b"], Some(&["a", "b"][..])),
            (ToolChoice::None, &["a"], Some(none)),
            (ToolChoice::Required, &["a", "b"], Some(&["a", "b"])),
            (ToolChoice::Required, none, None),
            (named("b"), &["a", "b"], Some(&["b"])),
            (named("c"), &["a", "b"], None),
        ] {
            let mut request = ChatRequest::new("m", Prompt::Messages(Vec::new()));
            request.tools = tools.iter().map(|name| tool(name)).collect();
            request.tool_choice = tool_choice;
            let checked = request.check_tools();
            let names: Vec<&str> = request.offered_tools().map(|tool| &*tool.name).collect();
            assert_eq!(checked.ok().map(|()| &names[..]), offered, "{:?}", request.tool_choice);
        }
    }

    #[test]
    fn log_probabilities_and_tools_exclude_each_other() {
        let tool = Tool { name: "a".to_owned(), description: None, parameters: JsonText::empty_object() };
        for (tool_choice, is_possible) in [(ToolChoice::Auto, false), (ToolChoice::None, true)] {
            let prompt = Prompt::Messages(Vec::new());
            let tools = vec![tool.clone()];
            let request =
                ChatRequest { tools, tool_choice, logprobs: Some(0), ..ChatRequest::new("m", prompt) };
            assert_eq!(request.check_tools().is_ok(), is_possible, "{request:?}");
        }
    }

    #[test]
    fn a_format_leaves_no_room_for_tool_calls() {
        let tool = Tool { name: "a".to_owned(), description: None, parameters: JsonText::empty_object() };
        for (format, tool_choice, is_possible) in [
            (Format::Text, ToolChoice::Auto, true),
            (Format::Json, ToolChoice::Auto, false),
            (Format::Schema(JsonText::empty_object()), ToolChoice::Required, false),
            (Format::Json, ToolChoice::None, true),
        ] {
            let request = ChatRequest {
                tools: vec![tool.clone()],
                tool_choice,
                format,
                ..ChatRequest::new("m", Prompt::Messages(Vec::new()))
            };
            assert_eq!(request.check_tools().is_ok(), is_possible, "{request:?}");
        }
    }

    #[test]
    fn a_continued_message_is_a_text() {
        let message = |role| Message::new(role, "a");
        let tool = Tool { name: "a".to_owned(), description: None, parameters: JsonText::empty_object() };
        for (last, format, tool_choice, refused) in [
            (Role::Assistant, Format::Text, ToolChoice::Auto, None),
            (Role::Assistant, Format::Json, ToolChoice::None, Some("/format")),
            (Role::Assistant, Format::Text, ToolChoice::Required, Some("/tool_choice")),
            (Role::User, Format::Json, ToolChoice::None, None),
            (Role::User, Format::Text, ToolChoice::Required, None),
        ] {
            let request = ChatRequest {
                tools: vec![tool.clone()],
                tool_choice,
                format,
                ..ChatRequest::new("m", Prompt::Messages(vec![message(Role::User), message(last)]))
            };
            let error = request.check().err();
            assert_eq!(error.as_ref().map(|error| &*error.field_errors()[0].pointer), refused, "{request:?}");
        }
    }
}

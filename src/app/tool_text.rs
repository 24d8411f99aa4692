//! Tool calls that a model writes as its text. Small models forget the marks that their chat template asks for
//! (Qwen2.5-Coder does), and the engine takes the call for an answer. As in Ollama, a text that is nothing but
//! the JSON of calls is read as these calls.

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::{
    cache::Events,
    error::{Error, Kind, Result},
    json_schema::Checks,
    types::{ChatEvent, ChatRequest, Done, FinishReason, Format, JsonText, ToolCall},
};

/// First names in the JSON of a call, whose order models vary.
const FIRST_NAMES: [&str; 7] = ["name", "arguments", "parameters", "function", "type", "id", "tool_calls"];

/// Beginning of a Markdown code block, in which some models write JSON.
const FENCE: &str = "```json";

/// Returns the same events, with tool calls in place of a text that is nothing but calls. The text is held back
/// as long as it can still become one.
pub(super) fn read_calls(events: Events, reader: Option<CallReader>) -> Events {
    match reader {
        Some(mut reader) => Box::pin(events.flat_map(move |event| stream::iter(reader.take(event)))),
        None => events,
    }
}

/// Reader of one answer.
pub(super) struct CallReader {
    /// Names of the tools.
    names: Vec<String>,
    checks: Checks,
    /// Text that may become calls.
    held: String,
    /// Whether the answer is known to be a text.
    is_text: bool,
    /// Whether an answer without a call is an error, unless it is cut off.
    is_forced: bool,
    /// Whether a stop sequence may end the answer within a call.
    has_stop: bool,
}

/// Meaning of a text so far.
#[derive(Debug, PartialEq)]
enum Reading {
    Text,
    Unfinished,
    Calls {
        calls: Vec<ToolCall>,
        /// Whether the last of them is the same as one before it.
        repeats: bool,
    },
}

impl CallReader {
    /// `None` for an answer that is a text in any case: without tools, or with a format of its own.
    pub(super) fn new(request: &ChatRequest, checks: &Checks) -> Option<Self> {
        let has_calls = request.offered_tools().next().is_some() && request.format == Format::Text;
        has_calls.then(|| Self {
            names: request.offered_tools().map(|tool| tool.name.clone()).collect(),
            checks: checks.clone(),
            held: String::new(),
            is_text: false,
            is_forced: request.tool_choice.forces_a_call(),
            has_stop: !request.sampling.stop.is_empty(),
        })
    }

    fn take(&mut self, event: Result<ChatEvent>) -> Vec<Result<ChatEvent>> {
        match event {
            Ok(ChatEvent::Text(text)) if !self.is_text => {
                self.held.push_str(&text);
                // Only the end of a value can finish a call.
                let is_end = text.contains(['}', ']', '`']);
                self.is_text = !self.is_forced
                    && (!may_become_calls(&self.held) || (is_end && self.read() == Reading::Text));
                if self.is_text { self.release().collect() } else { Vec::new() }
            }
            Ok(ChatEvent::Thinking(_) | ChatEvent::Logprobs(_)) => vec![event],
            Ok(ChatEvent::ToolCall(_)) => {
                self.is_forced = false;
                self.release().chain([event]).collect()
            }
            Ok(ChatEvent::Done(done)) if self.is_forced || !self.held.is_empty() => self.end(*done),
            event => self.release().chain([event]).collect(),
        }
    }

    /// Returns the text that was held back.
    fn release(&mut self) -> impl Iterator<Item = Result<ChatEvent>> + use<> {
        let held = std::mem::take(&mut self.held);
        (!held.is_empty()).then_some(Ok(ChatEvent::Text(held))).into_iter()
    }

    fn end(&mut self, done: Done) -> Vec<Result<ChatEvent>> {
        match self.read() {
            Reading::Calls { calls, repeats } => {
                let reason = match done.reason {
                    FinishReason::Stop => FinishReason::ToolCalls,
                    _ if repeats => FinishReason::ToolCalls,
                    reason => reason,
                };
                let calls = calls.into_iter().map(|call| Ok(call.into()));
                calls.chain([Ok(Done { reason, ..done }.into())]).collect()
            }
            // The beginning of a call is not an answer.
            _ if self.is_forced && (self.has_stop || done.reason.is_cut_off()) => vec![Ok(done.into())],
            _ if self.is_forced => {
                let detail =
                    "The model did not call a tool, although tool_choice asks for it. Use another model.";
                vec![Err(Error::new(Kind::BadGateway, detail))]
            }
            Reading::Text | Reading::Unfinished => self.release().chain([Ok(done.into())]).collect(),
        }
    }

    /// Reads the text as JSON values, one behind the other or in a list, each of which is a call.
    fn read(&self) -> Reading {
        if FENCE.starts_with(self.held.trim()) {
            return Reading::Unfinished;
        }
        let (mut calls, mut repeats, text) = (Vec::new(), false, without_fence(&self.held));
        let (mut last, mut end) = ("", 0);
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        while let Some(value) = stream.next() {
            let values = match value {
                Ok(Value::Array(values)) => values,
                Ok(value) => vec![value],
                // Cut off in one more repetition.
                Err(error) if error.is_eof() && repeats && last.starts_with(text[end..].trim()) => break,
                Err(error) if error.is_eof() => return Reading::Unfinished,
                Err(_) => return Reading::Text,
            };
            for value in values {
                let Some(call) = self.call(value) else { return Reading::Text };
                // Small models repeat themselves; the same call again asks for nothing new.
                repeats = calls.contains(&call);
                if !repeats {
                    calls.push(call);
                }
            }
            last = text[end..stream.byte_offset()].trim();
            end = stream.byte_offset();
        }
        if calls.is_empty() { Reading::Unfinished } else { Reading::Calls { calls, repeats } }
    }

    /// Reads `{"name": …, "arguments": {…}}`, also with `parameters`, and also within `function`.
    fn call(&self, mut value: Value) -> Option<ToolCall> {
        if let Some(function) = value.get_mut("function").filter(|function| function.is_object()) {
            value = function.take();
        }
        let name = value.get("name")?.as_str()?.to_owned();
        let arguments = ["arguments", "parameters"].into_iter().find_map(|field| value.get(field))?;
        let arguments = ToolCall::arguments(&JsonText::from(arguments.clone()))?;
        let call = ToolCall { id: None, name, arguments };
        (self.names.contains(&call.name) && self.checks.arguments(&call).is_ok()).then_some(call)
    }
}

/// Text within a Markdown code block, or the text itself.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("```") {
        Some(fenced) => fenced.strip_prefix("json").unwrap_or(fenced).trim_end().trim_end_matches('`'),
        None => text,
    }
}

/// Whether a text may be the beginning of calls, by its first characters.
fn may_become_calls(text: &str) -> bool {
    let start = text.trim_start();
    if FENCE.starts_with(start) {
        return true;
    }
    let json = without_fence(start).trim_start();
    let inner = json.trim_start_matches(|char: char| char.is_whitespace() || char == '[' || char == '{');
    if inner.is_empty() {
        return true;
    }
    match inner.strip_prefix('"') {
        Some(name) if json.len() > inner.len() => {
            name.split_once('"').is_none_or(|(name, _)| FIRST_NAMES.contains(&name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        json_schema,
        types::{Message, Prompt, Role, Tool, ToolChoice},
    };

    fn read(pieces: &[&str]) -> (Vec<ChatEvent>, FinishReason) {
        read_to(FinishReason::Stop, pieces)
    }

    /// Returns the events for an answer that comes in pieces and ends for a reason, with the reason that a caller sees.
    fn read_to(reason: FinishReason, pieces: &[&str]) -> (Vec<ChatEvent>, FinishReason) {
        read_as(ToolChoice::Auto, reason, pieces).expect("an answer")
    }

    fn read_as(
        tool_choice: ToolChoice,
        reason: FinishReason,
        pieces: &[&str],
    ) -> Result<(Vec<ChatEvent>, FinishReason)> {
        let tool = |name: &str, parameters: Value| Tool {
            name: name.to_owned(),
            description: None,
            parameters: parameters.into(),
        };
        let city =
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let messages = vec![Message::new(Role::User, "What is the weather?")];
        let mut request = ChatRequest {
            tools: vec![tool("get_weather", city), tool("now", json!({"type": "object"}))],
            tool_choice,
            ..ChatRequest::new("m", Prompt::Messages(messages))
        };
        let checks = json_schema::prepare(&mut request).expect("good schemas");
        let mut reader = CallReader::new(&request, &checks).expect("it has tools");
        let texts = pieces.iter().map(|piece| ChatEvent::Text((*piece).to_owned()));
        let mut events: Vec<ChatEvent> = texts
            .chain([Done { reason, ..Done::default() }.into()])
            .flat_map(|event| reader.take(Ok(event)))
            .collect::<Result<_>>()?;
        let Some(ChatEvent::Done(done)) = events.pop() else { panic!("no end") };
        Ok((events, done.reason))
    }

    fn call(name: &str, arguments: Value) -> ChatEvent {
        ToolCall { id: None, name: name.to_owned(), arguments: arguments.into() }.into()
    }

    #[test]
    fn a_text_that_is_nothing_but_calls_becomes_calls() {
        let paris = call("get_weather", json!({"city": "Paris"}));
        let now = call("now", json!({}));
        let plain = r#"{"name": "get_weather", "arguments": {"city": "Paris"}}"#;
        for (text, expected) in [
            (plain.to_owned(), vec![paris.clone()]),
            (format!("\n {plain}\n"), vec![paris.clone()]),
            (format!("```json\n{plain}\n```"), vec![paris.clone()]),
            (format!("```\n{plain}\n```\n"), vec![paris.clone()]),
            (format!("[{plain}, {plain}]"), vec![paris.clone()]),
            (
                format!("{plain}\n{{\"name\": \"now\", \"arguments\": {{}}}}"),
                vec![paris.clone(), now.clone()],
            ),
            (r#"{"arguments": {"city": "Paris"}, "name": "get_weather"}"#.to_owned(), vec![paris.clone()]),
            (r#"{"name": "get_weather", "parameters": {"city": "Paris"}}"#.to_owned(), vec![paris.clone()]),
            (
                r#"{"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}"#.to_owned(),
                vec![paris.clone()],
            ),
            (format!(r#"{{"type": "function", "function": {plain}}}"#), vec![paris.clone()]),
            (r#"{"name": "now", "arguments": null}"#.to_owned(), vec![now]),
        ] {
            let pieces: Vec<&str> = text.split_inclusive(' ').collect();
            assert_eq!(read(&pieces), (expected.clone(), FinishReason::ToolCalls), "{text}");
            assert_eq!(read(&[&text]), (expected, FinishReason::ToolCalls), "{text}");
        }
    }

    #[test]
    fn every_other_text_stays_as_it_is() {
        for text in [
            "It is sunny.",
            "",
            "[1, 2, 3]",
            "[]",
            "{}",
            "\"name\"",
            r#"{"city": "Paris"}"#,
            r#"{"name": "get_weather"}"#,
            r#"{"name": "get_weather", "arguments": {}}"#,
            r#"{"name": "get_weather", "arguments": {"city": 5}}"#,
            r#"{"name": "get_weather", "arguments": [1]}"#,
            r#"{"name": "unknown", "arguments": {}}"#,
            r#"{"name": "now", "arguments": {}} is what I would call."#,
            r#"I call {"name": "now", "arguments": {}}"#,
            r#"{"name": "now", "arguments": {"#,
            "```json\n{\"answer\": 5}\n```",
            "```python\nprint(1)\n```",
            "`name`",
        ] {
            let pieces: Vec<&str> = text.split_inclusive(' ').collect();
            let (events, reason) = read(&pieces);
            let said: String = events
                .iter()
                .map(|event| match event {
                    ChatEvent::Text(text) => text.as_str(),
                    other => panic!("{text}: {other:?}"),
                })
                .collect();
            assert_eq!((said.as_str(), reason), (text, FinishReason::Stop));
        }
    }

    #[test]
    fn a_call_repeated_until_it_is_cut_off_is_one_call() {
        use FinishReason::{Context, Length, ToolCalls};
        let paris = call("get_weather", json!({"city": "Paris"}));
        let plain = "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}";
        let other = plain.replace("Paris", "Rome");
        for (text, reason, expected) in [
            (format!("{plain}\n{plain}\n{}", &plain[..30]), Length, Some((vec![paris.clone()], ToolCalls))),
            (format!("{plain}\n{plain}\n"), Context, Some((vec![paris.clone()], ToolCalls))),
            (plain.to_owned(), Length, Some((vec![paris], Length))),
            // What is cut off asks for something else, or may.
            (format!("{plain}\n{plain}\n{}", &other[..other.len() - 3]), Length, None),
            (format!("{plain}\n{}", &plain[..30]), Length, None),
        ] {
            let expected = expected.unwrap_or_else(|| (vec![ChatEvent::Text(text.clone())], reason.clone()));
            assert_eq!(read_to(reason, &[&text]), expected, "{text}");
        }
    }

    #[test]
    fn a_forced_call_is_a_call_or_an_error() {
        let forced = |reason, text: &str| read_as(ToolChoice::Required, reason, &[text]);
        let plain = r#"{"name":"get_weather","arguments":{"city":"Paris"}}"#;
        let paris = call("get_weather", json!({"city": "Paris"}));
        assert_eq!(forced(FinishReason::Stop, plain).ok(), Some((vec![paris], FinishReason::ToolCalls)));
        for text in ["It is sunny.", "", r#"{"name":"get_weather","arguments":{"city":5}}"#] {
            let error = forced(FinishReason::Stop, text).expect_err("no call");
            assert_eq!(error.kind(), Kind::BadGateway, "{text}");
        }
        let cut_off = forced(FinishReason::Length, &plain[..30]);
        assert_eq!(cut_off.ok(), Some((Vec::new(), FinishReason::Length)));
    }

    #[test]
    fn a_text_is_held_back_only_while_it_can_be_a_call() {
        for (pieces, held) in [
            (&["Sun", "ny"][..], 0),
            (&["{\"", "city", "\": ", "\"Paris\"}"], 2),
            (&["{\"name\": \"no", "body\", ", "\"age\": 5}", " ok"], 2),
            (&["``", "`", "python\n", "x"], 2),
        ] {
            let (events, _) = read(pieces);
            assert_eq!(events.len(), pieces.len() - held, "{pieces:?}");
        }
    }
}

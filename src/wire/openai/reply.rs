//! From the data of streamed `chat.completion.chunk` events to our `ChatEvent`s.

use serde::Deserialize;

use super::{
    ErrorObject, TimingsObject, UsageObject, failed,
    logprobs::{TokenObject, push_logprobs},
    malformed,
};
use crate::{
    error::{Error, Kind, Result},
    types::{ChatEvent, Done, FinishReason, ToolCall},
    wire::Parser,
};

/// Takes the chunks of one reply in.
#[derive(Default)]
pub struct ReplyParser {
    calls: Vec<PartialCall>,
    done: Done,
    /// Stop sequence that has ended the answer.
    stop_sequence: Option<String>,
    finished: bool,
    closed: bool,
}

impl Parser for ReplyParser {
    fn take(&mut self, data: &[u8], out: &mut Vec<ChatEvent>) -> Result<()> {
        if data == b"[DONE]" {
            self.closed = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_slice(data).map_err(malformed)?;
        if let Some(error) = chunk.error {
            return Err(failed(error));
        }
        if let Some(usage) = chunk.usage {
            self.done.usage = usage.into();
        }
        if let Some(timings) = chunk.timings {
            self.done.timings = timings.into();
        }
        if let Some(End { stop_type: Some(StopType::Word), stopping_word: Some(word) }) = chunk.end {
            self.stop_sequence = Some(word);
        }
        // We ask for one choice, so there is one, or none in the chunk with the usage.
        if let Some(choice) = chunk.choices.into_iter().next() {
            if let Some(Logprobs { content: Some(tokens) }) = choice.logprobs {
                push_logprobs(out, tokens);
            }
            self.take_delta(choice.delta, out);
            if let Some(reason) = choice.finish_reason {
                self.finished = true;
                self.done.reason = match (finish_reason(&reason), self.stop_sequence.take()) {
                    (FinishReason::Stop, Some(sequence)) => FinishReason::StopSequence(sequence),
                    (reason, _) => reason,
                };
                self.flush_calls(out)?;
            }
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn finish(self) -> Option<Done> {
        self.finished.then_some(self.done)
    }
}

impl ReplyParser {
    fn take_delta(&mut self, delta: Delta, out: &mut Vec<ChatEvent>) {
        let thinking = delta.reasoning_content.or(delta.reasoning);
        ChatEvent::push_thinking(out, thinking.unwrap_or_default().into());
        ChatEvent::push_text(out, delta.content.unwrap_or_default().into());
        for piece in delta.tool_calls.unwrap_or_default() {
            let at = match self.calls.iter().position(|call| call.index == piece.index) {
                Some(at) => at,
                None => {
                    self.calls.push(PartialCall { index: piece.index, ..PartialCall::default() });
                    self.calls.len() - 1
                }
            };
            let call = &mut self.calls[at];
            call.id = piece.id.or(call.id.take());
            call.name.push_str(&piece.function.name.unwrap_or_default());
            call.arguments.push_str(&piece.function.arguments.unwrap_or_default());
        }
    }

    fn flush_calls(&mut self, out: &mut Vec<ChatEvent>) -> Result<()> {
        for call in self.calls.drain(..) {
            match call.complete() {
                Some(call) => out.push(call.into()),
                // Cut off: half a call is of no use, and the reason says why.
                None if self.done.reason.is_cut_off() => {}
                None => {
                    let message = "The model called a tool with arguments that are not a JSON object.";
                    return Err(Error::new(Kind::BadGateway, message));
                }
            }
        }
        Ok(())
    }
}

/// A tool call of which more is to come.
#[derive(Default)]
struct PartialCall {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl PartialCall {
    /// `None` when the arguments are no object, or half of one.
    fn complete(self) -> Option<ToolCall> {
        let arguments = ToolCall::arguments(&serde_json::Value::from(self.arguments).into())?;
        Some(ToolCall { id: self.id, name: self.name, arguments })
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        // `stop`, and whatever else ends an answer.
        _ => FinishReason::Stop,
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageObject>,
    timings: Option<TimingsObject>,
    error: Option<ErrorObject>,
    /// llama.cpp, with the fields that are asked for.
    #[serde(rename = "__verbose")]
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    stop_type: Option<StopType>,
    stopping_word: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StopType {
    Word,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<TokenObject>>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    /// llama.cpp and DeepSeek.
    reasoning_content: Option<String>,
    /// Newer vLLM.
    reasoning: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: u32,
    id: Option<String>,
    #[serde(default)]
    function: FunctionPiece,
}

#[derive(Default, Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Logprob, TokenLogprob, Usage};

    fn parse(frames: &[&str]) -> Result<(Vec<ChatEvent>, Option<Done>)> {
        crate::wire::testing::parsed::<ReplyParser>(frames)
    }

    #[test]
    fn text_thinking_usage_and_timings() {
        let (events, done) = parse(&[
            r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"finish_reason":null,"delta":{"reasoning_content":"Hm."}}]}"#,
            r#"{"choices":[{"finish_reason":null,"delta":{"content":"Paris"}}]}"#,
            r#"{"choices":[{"finish_reason":"length","delta":{}}]}"#,
            r#"{"choices":[],"usage":{"completion_tokens":11,"prompt_tokens":17,"total_tokens":28,"prompt_tokens_details":{"cached_tokens":13}},"timings":{"prompt_ms":1.5,"predicted_ms":3.0}}"#,
            "[DONE]",
        ])
        .expect("a reply");
        assert_eq!(events, [ChatEvent::Thinking("Hm.".into()), ChatEvent::Text("Paris".into())]);
        let done = done.expect("an end");
        assert_eq!(done.reason, FinishReason::Length);
        let usage =
            Usage { prompt_tokens: 17, completion_tokens: 11, cached_tokens: Some(13), ..Usage::default() };
        assert_eq!(done.usage, usage);
        assert_eq!((done.timings.prompt_eval.as_micros(), done.timings.eval.as_micros()), (1500, 3000));
    }

    #[test]
    fn probabilities_come_before_their_texts() {
        let (events, _) = parse(&[
            r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"id":1,"token":"a","bytes":[97],"logprob":-0.5,"top_logprobs":[{"id":1,"token":"a","bytes":[97],"logprob":-0.5}]}]}}]}"#,
            r#"{"choices":[{"delta":{"content":"b"},"logprobs":{"content":[{"token":"b","bytes":null,"logprob":null}]}}]}"#,
            r#"{"choices":[{"finish_reason":"stop","delta":{},"logprobs":null}]}"#,
        ])
        .expect("a reply");
        let told = |text: &str, logprob: f32| Logprob {
            text: text.to_owned(),
            bytes: text.as_bytes().to_vec(),
            logprob,
        };
        let first = TokenLogprob { token: told("a", -0.5), top: vec![told("a", -0.5)] };
        let second = TokenLogprob { token: told("b", -9999.0), top: Vec::new() };
        let text = |text: &str| ChatEvent::Text(text.to_owned());
        assert_eq!(
            events,
            [ChatEvent::Logprobs(vec![first]), text("a"), ChatEvent::Logprobs(vec![second]), text("b")]
        );
    }

    #[test]
    fn every_reason_to_end_has_its_name() {
        for (told, reason) in [
            ("stop", FinishReason::Stop),
            ("length", FinishReason::Length),
            ("tool_calls", FinishReason::ToolCalls),
            ("function_call", FinishReason::ToolCalls),
            ("content_filter", FinishReason::ContentFilter),
            ("something_newer", FinishReason::Stop),
        ] {
            let end = format!(r#"{{"choices":[{{"finish_reason":"{told}","delta":{{}}}}]}}"#);
            let (_, done) = parse(&[&end]).expect("a reply");
            assert_eq!(done.expect("an end").reason, reason, "{told}");
        }
    }

    #[test]
    fn the_stop_sequence_that_ended_an_answer_is_known() {
        let end = |told: &str| format!(r#"{{"choices":[],"__verbose":{told}}}"#);
        for (told, reason, expected) in [
            (
                r#"{"stop_type":"word","stopping_word":"END"}"#,
                "stop",
                FinishReason::StopSequence("END".into()),
            ),
            (r#"{"stop_type":"word","stopping_word":"END"}"#, "tool_calls", FinishReason::ToolCalls),
            (r#"{"stop_type":"eos","stopping_word":""}"#, "stop", FinishReason::Stop),
            (r#"{"stop_type":"limit","stopping_word":""}"#, "length", FinishReason::Length),
            ("{}", "stop", FinishReason::Stop),
        ] {
            let last = format!(r#"{{"choices":[{{"finish_reason":"{reason}","delta":{{}}}}]}}"#);
            let (_, done) = parse(&[&end(told), &last]).expect("a reply");
            assert_eq!(done.expect("an end").reason, expected, "{told} {reason}");
        }
    }

    #[test]
    fn pieces_of_tool_calls_are_put_together() {
        let (events, done) = parse(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":""}},{"index":0,"function":{"arguments":"\"x\":1}"}}]}}]}"#,
            r#"{"choices":[{"finish_reason":"tool_calls","delta":{}}]}"#,
        ])
        .expect("a reply");
        let call = |id: &str, name: &str, arguments: serde_json::Value| {
            ChatEvent::from(ToolCall { id: Some(id.into()), name: name.into(), arguments: arguments.into() })
        };
        assert_eq!(events, [call("a", "f", json!({"x": 1})), call("b", "g", json!({}))]);
        assert_eq!(done.map(|done| done.reason), Some(FinishReason::ToolCalls));
    }

    #[test]
    fn half_a_tool_call_is_an_error_unless_the_tokens_ran_out() {
        let piece = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"x"}}]}}]}"#;
        let end = |reason: &str| format!(r#"{{"choices":[{{"finish_reason":"{reason}","delta":{{}}}}]}}"#);
        for reason in ["length", "content_filter"] {
            let (events, _) = parse(&[piece, &end(reason)]).expect("a reply");
            assert_eq!(events, []);
        }
        let error = parse(&[piece, &end("tool_calls")]).expect_err("no JSON");
        assert_eq!(error.kind(), Kind::BadGateway);
    }

    #[test]
    fn what_is_cut_malformed_or_an_error_is_not_a_reply() {
        let (_, done) = parse(&[r#"{"choices":[{"delta":{"content":"Par"}}]}"#]).expect("chunks");
        assert_eq!(done, None);
        for chunk in ["{\"choices\":", "[]", "<html>", r#"{"error":{"message":"secret /path","code":500}}"#] {
            let error = parse(&[chunk]).expect_err(chunk);
            assert_eq!(error.kind(), Kind::BadGateway, "{chunk}");
            assert!(!error.message().contains("secret"));
        }
    }
}

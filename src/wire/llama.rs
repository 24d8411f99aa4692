//! llama-server's extensions of OpenAI's protocol (llama.cpp `tools/server/README.md`): completion
//! from token ids, the chat template and the tokenizer.

use serde::{Deserialize, Serialize};

use super::{
    Parser,
    openai::{
        ErrorObject, MessageBody, SamplingBody, Schema, ThinkingBody, TimingsObject, TokenObject, failed,
        malformed, push_logprobs, sampled, told,
    },
    tokens,
};
use crate::{
    error::Result,
    types::{ChatEvent, ChatRequest, Done, FinishReason, Message, Think, Usage},
};

/// `POST /completion`: continues tokens, and text after them, unchanged.
#[derive(Serialize)]
pub struct CompletionBody<'a> {
    prompt: Vec<Piece<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_probs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<Schema<'a>>,
    #[serde(flatten)]
    sampling: SamplingBody<'a>,
}

impl<'a> CompletionBody<'a> {
    pub fn new(request: &'a ChatRequest, context: &[u32], text: &'a str) -> Self {
        Self {
            prompt: context.iter().copied().map(Piece::Token).chain([Piece::Text(text)]).collect(),
            stream: true,
            n_predict: request.sampling.max_tokens.map(sampled),
            n_probs: told(request.logprobs),
            json_schema: Schema::new(&request.format),
            sampling: SamplingBody::new(&request.sampling),
        }
    }
}

/// `POST /infill`: fills the gap between two texts, with the tokens of the model that mark it.
#[derive(Serialize)]
pub struct InfillBody<'a> {
    input_prefix: &'a str,
    input_suffix: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_probs: Option<u8>,
    #[serde(flatten)]
    sampling: SamplingBody<'a>,
}

impl<'a> InfillBody<'a> {
    pub fn new(request: &'a ChatRequest, prefix: &'a str, suffix: &'a str) -> Self {
        Self {
            input_prefix: prefix,
            input_suffix: suffix,
            stream: true,
            n_predict: request.sampling.max_tokens.map(sampled),
            n_probs: told(request.logprobs),
            sampling: SamplingBody::new(&request.sampling),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Piece<'a> {
    Token(u32),
    Text(&'a str),
}

/// Parser of the events of one streamed `/completion`.
#[derive(Default)]
pub struct CompletionParser(Option<Done>);

impl Parser for CompletionParser {
    fn take(&mut self, data: &[u8], out: &mut Vec<ChatEvent>) -> Result<()> {
        let chunk: CompletionChunk = serde_json::from_slice(data).map_err(malformed)?;
        if let Some(error) = chunk.error {
            return Err(failed(error));
        }
        push_logprobs(out, chunk.completion_probabilities);
        ChatEvent::push_text(out, chunk.content.into());
        if chunk.stop {
            let timings = chunk.timings.unwrap_or_default();
            self.0 = Some(Done {
                reason: match chunk.stop_type.as_deref() {
                    Some("limit") => FinishReason::Length,
                    Some("word") => FinishReason::StopSequence(chunk.stopping_word),
                    _ => FinishReason::Stop,
                },
                usage: Usage {
                    prompt_tokens: chunk.tokens_evaluated,
                    completion_tokens: chunk.tokens_predicted,
                    cached_tokens: timings.cache_n,
                    reasoning_tokens: None,
                },
                timings: timings.into(),
                context: None,
            });
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.0.is_some()
    }

    fn finish(self) -> Option<Done> {
        self.0
    }
}

#[derive(Deserialize)]
struct CompletionChunk {
    #[serde(default)]
    content: String,
    #[serde(default)]
    stop: bool,
    /// `eos`, `word`, `limit` or `none`. `/v1/chat/completions` does not tell a word from the model's own end.
    stop_type: Option<String>,
    #[serde(default)]
    stopping_word: String,
    #[serde(default, deserialize_with = "tokens")]
    tokens_evaluated: u64,
    #[serde(default, deserialize_with = "tokens")]
    tokens_predicted: u64,
    timings: Option<TimingsObject>,
    #[serde(default)]
    completion_probabilities: Vec<TokenObject>,
    error: Option<ErrorObject>,
}

/// `POST /apply-template`
#[derive(Serialize)]
pub struct TemplateBody<'a> {
    messages: Vec<MessageBody<'a>>,
    add_generation_prompt: bool,
    #[serde(flatten)]
    thinking: ThinkingBody,
}

impl<'a> TemplateBody<'a> {
    /// Text up to the start of the assistant's turn.
    pub fn open(messages: &'a [Message], think: Option<Think>) -> Self {
        Self::new(messages, true, think)
    }

    /// Text of the finished turns.
    pub fn closed(messages: &'a [Message]) -> Self {
        Self::new(messages, false, None)
    }

    fn new(messages: &'a [Message], add_generation_prompt: bool, think: Option<Think>) -> Self {
        Self {
            messages: messages.iter().map(MessageBody::new).collect(),
            add_generation_prompt,
            thinking: ThinkingBody::new(think),
        }
    }
}

#[derive(Deserialize)]
pub struct TemplateReply {
    pub prompt: String,
}

/// `POST /tokenize`
#[derive(Serialize)]
pub struct TokenizeBody<'a> {
    pub content: &'a str,
    /// Adds the tokens that start and end every prompt of this model.
    pub add_special: bool,
    /// Reads control tokens such as `<|im_end|>` as one token.
    pub parse_special: bool,
}

#[derive(Deserialize)]
pub struct TokenizeReply {
    pub tokens: Vec<u32>,
}

/// `POST /detokenize`
#[derive(Serialize)]
pub struct DetokenizeBody<'a> {
    pub tokens: &'a [u32],
}

#[derive(Deserialize)]
pub struct DetokenizeReply {
    pub content: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Completion, Format, Prompt, Sampling};

    #[test]
    fn tokens_and_text_make_one_prompt() {
        let request = ChatRequest {
            format: Format::Json,
            sampling: Sampling { max_tokens: Some(5), ..Sampling::default() },
            ..ChatRequest::new("m", Prompt::Completion(Completion::default()))
        };
        assert_eq!(
            serde_json::to_value(CompletionBody::new(&request, &[1, 2], "Hi")).expect("JSON"),
            json!({"prompt": [1, 2, "Hi"], "stream": true, "n_predict": 5, "json_schema": {"type": "object"}})
        );
    }

    #[test]
    fn a_reply_has_text_and_an_end_with_counts() {
        let (mut parser, mut events) = (CompletionParser::default(), Vec::new());
        let mut take = |data: &str| parser.take(data.as_bytes(), &mut events).expect("a chunk");
        take(r#"{"index":0,"content":" live","tokens":[1238],"stop":false,"tokens_predicted":1}"#);
        take(
            r#"{"content":"","stop":true,"tokens_predicted":3,"tokens_evaluated":4,"stop_type":"limit","stopping_word":"","tokens_cached":6,"timings":{"cache_n":2,"prompt_ms":1.0,"predicted_ms":2.0}}"#,
        );
        assert!(parser.is_closed());
        assert_eq!(events, [ChatEvent::Text(" live".to_owned())]);
        let done = parser.finish().expect("an end");
        assert_eq!(done.reason, FinishReason::Length);
        assert_eq!((done.usage.prompt_tokens, done.usage.completion_tokens), (4, 3));
        assert_eq!((done.usage.cached_tokens, done.usage.reasoning_tokens), (Some(2), None));
    }

    #[test]
    fn a_stop_sequence_is_told_from_an_end_of_the_models_own() {
        for (told, reason) in [
            (r#""stop_type":"word","stopping_word":"END""#, FinishReason::StopSequence("END".to_owned())),
            (r#""stop_type":"eos","stopping_word":"""#, FinishReason::Stop),
            (r#""stop_type":"none""#, FinishReason::Stop),
        ] {
            let mut parser = CompletionParser::default();
            let end = format!(r#"{{"content":"","stop":true,{told}}}"#);
            parser.take(end.as_bytes(), &mut Vec::new()).expect("a chunk");
            assert_eq!(parser.finish().expect("an end").reason, reason, "{told}");
        }
    }
}

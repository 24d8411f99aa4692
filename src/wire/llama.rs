//! llama-server's extensions of OpenAI's protocol (llama.cpp `tools/server/README.md`): completion
//! from token ids, the chat template and the tokenizer.

use serde::{Deserialize, Serialize};

use super::{
    Parser,
    openai::{
        ErrorObject, MessageBody, SamplingBody, Schema, ThinkingBody, TimingsObject, failed, malformed,
        sampled,
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
            json_schema: Schema::new(&request.format),
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
        ChatEvent::push_text(out, chunk.content.into());
        if chunk.stop {
            let limit = chunk.stop_type.as_deref() == Some("limit");
            self.0 = Some(Done {
                reason: if limit { FinishReason::Length } else { FinishReason::Stop },
                usage: Usage {
                    prompt_tokens: chunk.tokens_evaluated,
                    completion_tokens: chunk.tokens_predicted,
                },
                timings: chunk.timings.unwrap_or_default().into(),
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
    stop_type: Option<String>,
    #[serde(default, deserialize_with = "tokens")]
    tokens_evaluated: u64,
    #[serde(default, deserialize_with = "tokens")]
    tokens_predicted: u64,
    timings: Option<TimingsObject>,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Completion, Format, Prompt, Sampling};

    #[test]
    fn tokens_and_text_make_one_prompt() {
        let request = ChatRequest {
            model: "m".to_owned(),
            prompt: Prompt::Completion(Completion::default()),
            tools: Vec::new(),
            format: Format::Json,
            sampling: Sampling { max_tokens: Some(5), ..Sampling::default() },
            think: None,
            keep_alive: None,
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
            r#"{"content":"","stop":true,"tokens_predicted":3,"tokens_evaluated":4,"stop_type":"limit","timings":{"prompt_ms":1.0,"predicted_ms":2.0}}"#,
        );
        assert!(parser.is_closed());
        assert_eq!(events, [ChatEvent::Text(" live".to_owned())]);
        let done = parser.finish().expect("an end");
        assert_eq!(done.reason, FinishReason::Length);
        assert_eq!((done.usage.prompt_tokens, done.usage.completion_tokens), (4, 3));
    }
}

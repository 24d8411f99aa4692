//! From our `ChatRequest` to the body of `POST /v1/chat/completions`.

use serde::Serialize;

use super::{
    MessageBody,
    sampling::{SamplingBody, sampled, told},
};
use crate::types::{ChatRequest, Format, JsonText, Message, Sampling, Think, Tool};

/// Always streamed: a plain reply is a collected stream.
#[derive(Serialize)]
pub struct ChatBody<'a> {
    /// llama-server has only one model and needs no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    pub messages: Vec<MessageBody<'a>>,
    pub stream: bool,
    pub stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolBody<'a>>,
    /// Never OpenAI's object that names a function: llama-server ignores it, and `required` with that tool
    /// alone means the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u8>,
    #[serde(flatten)]
    pub sampling: SamplingBody<'a>,
    #[serde(flatten)]
    pub thinking: ThinkingBody,
    /// llama.cpp and vLLM: go on with the last message, which is the assistant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_generation_prompt: Option<bool>,
    #[serde(flatten)]
    pub end: EndBody,
}

/// llama.cpp: the reply tells which stop sequence has ended it, where there are some.
#[derive(Default, Serialize)]
pub struct EndBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    verbose: Option<bool>,
    /// All that it tells besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_fields: Option<[&'static str; 2]>,
}

impl EndBody {
    fn new(sampling: &Sampling) -> Self {
        if sampling.stop.is_empty() {
            return Self::default();
        }
        Self { verbose: Some(true), response_fields: Some(["stop_type", "stopping_word"]) }
    }
}

impl<'a> ChatBody<'a> {
    pub fn new(request: &'a ChatRequest, messages: &'a [Message], model: Option<&'a str>) -> Self {
        let continues = messages.last().is_some_and(Message::is_prefill);
        Self {
            model,
            messages: messages.iter().map(MessageBody::new).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            // For `None` there are none, since a model that sees tools may write a call as text.
            tools: request.offered_tools().map(ToolBody::from).collect(),
            // With a format, the model sees the tools and answers in the format instead of the engine's form of a call.
            tool_choice: (request.tool_choice.forces_a_call()).then_some(if request.format == Format::Text {
                "required"
            } else {
                "none"
            }),
            parallel_tool_calls: request.offered_tools().next().map(|_| request.parallel_tool_calls),
            response_format: ResponseFormat::new(&request.format),
            max_tokens: request.sampling.max_tokens.map(sampled),
            logprobs: request.logprobs.map(|_| true),
            top_logprobs: told(request.logprobs),
            sampling: SamplingBody::new(&request.sampling),
            thinking: ThinkingBody::new(request.think),
            continue_final_message: continues.then_some(true),
            add_generation_prompt: continues.then_some(false),
            end: EndBody::new(&request.sampling),
        }
    }
}

/// Whether and how long the model thinks.
#[derive(Serialize)]
pub struct ThinkingBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    /// llama.cpp and vLLM: additional variables of the chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_kwargs: Option<TemplateWords>,
}

/// Names of the switch in chat templates: Qwen's and most others', and DeepSeek's and Granite's.
#[derive(Serialize)]
struct TemplateWords {
    enable_thinking: bool,
    thinking: bool,
}

impl ThinkingBody {
    pub fn new(think: Option<Think>) -> Self {
        Self {
            reasoning_effort: think.and_then(Think::effort),
            chat_template_kwargs: think
                .map(|think| TemplateWords { enable_thinking: think.is_on(), thinking: think.is_on() }),
        }
    }
}

#[derive(Serialize)]
pub struct StreamOptions {
    pub include_usage: bool,
}

/// The schema that a format stands for; `json` is any object, as OpenAI defines `json_object`.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Schema<'a> {
    AnyObject { r#type: &'static str },
    Given(&'a JsonText),
}

impl<'a> Schema<'a> {
    pub fn new(format: &'a Format) -> Option<Self> {
        match format {
            Format::Text => None,
            Format::Json => Some(Self::AnyObject { r#type: "object" }),
            Format::Schema(schema) => Some(Self::Given(schema)),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
pub struct NamedSchema<'a> {
    name: &'static str,
    schema: &'a JsonText,
}

impl<'a> ResponseFormat<'a> {
    fn new(format: &'a Format) -> Option<Self> {
        match format {
            Format::Text => None,
            Format::Json => Some(Self::JsonObject),
            Format::Schema(schema) => {
                Some(Self::JsonSchema { json_schema: NamedSchema { name: "answer", schema } })
            }
        }
    }
}

#[derive(Serialize)]
pub struct ToolBody<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a JsonText,
}

impl<'a> From<&'a Tool> for ToolBody<'a> {
    fn from(tool: &'a Tool) -> Self {
        Self {
            r#type: "function",
            function: Function {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: &tool.parameters,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::types::{Prompt, Role, ToolCall, ToolChoice};

    fn request() -> ChatRequest {
        ChatRequest::new("m", Prompt::Messages(Vec::new()))
    }

    fn body(request: &ChatRequest, messages: &[Message]) -> Value {
        serde_json::to_value(ChatBody::new(request, messages, None)).expect("JSON")
    }

    #[test]
    fn what_is_not_asked_for_is_not_sent() {
        assert_eq!(
            body(&request(), &[Message::new(Role::User, "Hi")]),
            json!({
                "messages": [{"role": "user", "content": "Hi"}],
                "stream": true,
                "stream_options": {"include_usage": true},
            })
        );
    }

    #[test]
    fn everything_that_is_asked_for_is_sent() {
        let mut request = request();
        request.sampling = Sampling {
            temperature: Some(0.75),
            top_p: Some(0.5),
            top_k: Some(u32::MAX),
            seed: Some(-1),
            stop: vec![String::new(), "\n".to_owned()],
            max_tokens: Some(u32::MAX),
            min_p: Some(0.25),
            typical_p: Some(0.5),
            repeat_penalty: Some(1.5),
            repeat_last_n: Some(-1),
            presence_penalty: Some(-1.0),
            frequency_penalty: Some(2.0),
            mirostat: Some(2),
            mirostat_tau: Some(4.0),
            mirostat_eta: Some(0.5),
            logit_bias: vec![(5, -100.0)],
        };
        request.logprobs = Some(3);
        request.format = Format::Schema(json!({"type": "string"}).into());
        request.tools = vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: json!({"type": "object"}).into(),
        }];
        let mut call = Message::new(Role::Assistant, "");
        call.tool_calls = vec![ToolCall {
            id: Some("1".to_owned()),
            name: "f".to_owned(),
            arguments: json!({"a": 1}).into(),
        }];
        let mut answer = Message::new(Role::Tool, "2");
        answer.tool_call_id = Some("1".to_owned());
        let body = body(&request, &[call, answer]);
        assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.75), &json!(0.5)));
        assert_eq!((&body["top_k"], &body["max_tokens"]), (&json!(i32::MAX), &json!(i32::MAX)));
        assert_eq!((&body["seed"], &body["stop"]), (&json!(-1), &json!(["\n"])));
        assert_eq!(body["cache_prompt"], false);
        assert_eq!(
            (&body["verbose"], &body["response_fields"]),
            (&json!(true), &json!(["stop_type", "stopping_word"]))
        );
        let shares = [
            "min_p",
            "typical_p",
            "repeat_penalty",
            "repeat_last_n",
            "presence_penalty",
            "frequency_penalty",
            "mirostat",
            "mirostat_tau",
            "mirostat_eta",
        ];
        assert_eq!(
            json!(shares.map(|name| body[name].clone())),
            json!([0.25, 0.5, 1.5, -1, -1.0, 2.0, 2, 4.0, 0.5])
        );
        assert_eq!(body["logit_bias"], json!({"5": -100.0}));
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(3)));
        assert_eq!(body["response_format"]["json_schema"]["schema"], json!({"type": "string"}));
        assert_eq!(body["tools"][0]["function"]["name"], "f");
        assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
        assert_eq!(body["messages"][1]["tool_call_id"], "1");
        assert_eq!(body.get("continue_final_message"), None);
    }

    #[test]
    fn a_tool_choice_is_sent_as_llama_server_knows_it() {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: None,
            parameters: JsonText::empty_object(),
        };
        for (tool_choice, tools, sent) in [
            (ToolChoice::Auto, &["a", "b"][..], Value::Null),
            (ToolChoice::None, &[], Value::Null),
            (ToolChoice::Required, &["a", "b"], json!("required")),
            (ToolChoice::Named("b".to_owned()), &["b"], json!("required")),
        ] {
            let tools_given = vec![tool("a"), tool("b")];
            let body = body(&ChatRequest { tools: tools_given, tool_choice, ..request() }, &[]);
            let names = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]["name"]);
            assert_eq!(names.collect::<Vec<_>>(), tools);
            assert_eq!(body["tool_choice"], sent);
        }
        let format = Format::Schema(json!({"type": "object"}).into());
        let (tools, tool_choice) = (vec![tool("a")], ToolChoice::Required);
        let body = body(&ChatRequest { tools, tool_choice, format, ..request() }, &[]);
        assert_eq!(
            (&body["tool_choice"], &body["tools"][0]["function"]["name"]),
            (&json!("none"), &json!("a"))
        );
    }

    #[test]
    fn thinking_is_asked_for_as_templates_know_it() {
        let told = |think| {
            let body = body(&ChatRequest { think, ..request() }, &[]);
            (body["chat_template_kwargs"]["enable_thinking"].clone(), body["reasoning_effort"].clone())
        };
        assert_eq!(told(None), (Value::Null, Value::Null));
        assert_eq!(told(Some(Think::Off)), (json!(false), Value::Null));
        assert_eq!(told(Some(Think::On)), (json!(true), Value::Null));
        assert_eq!(told(Some(Think::Medium)), (json!(true), json!("medium")));
    }

    #[test]
    fn a_last_assistant_message_is_continued() {
        let body = body(&request(), &[Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")]);
        assert_eq!(body["continue_final_message"], true);
        assert_eq!(body["add_generation_prompt"], false);
    }
}

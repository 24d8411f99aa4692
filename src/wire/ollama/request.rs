//! Requests to an Ollama server.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    types::{Completion, Format, JsonText, KeepAlive, LoadOptions, Message, Sampling, Think, ToolCall},
    // Ollama writes a tool as OpenAI does.
    wire::openai::ToolBody,
};

#[derive(Serialize)]
pub struct ChatBody<'a> {
    pub model: &'a str,
    pub messages: Vec<MessageBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolBody<'a>>,
    #[serde(flatten)]
    pub common: CommonBody<'a>,
}

#[derive(Serialize)]
pub struct GenerateBody<'a> {
    pub model: &'a str,
    pub prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<&'a [u32]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    #[serde(flatten)]
    pub common: CommonBody<'a>,
}

/// A prompt of nothing loads the model, or unloads it.
#[derive(Serialize)]
pub struct LoadBody<'a> {
    model: &'a str,
    prompt: &'static str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
    options: LoadOptionsBody,
}

#[derive(Serialize)]
struct LoadOptionsBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
}

impl<'a> LoadBody<'a> {
    pub fn new(model: &'a str, options: LoadOptions) -> Self {
        let LoadOptions { keep_alive, context } = options;
        let keep_alive = keep_alive.map(|keep_alive| keep_alive.to_string());
        Self { model, prompt: "", stream: false, keep_alive, options: LoadOptionsBody { num_ctx: context } }
    }
}

#[derive(Serialize)]
pub struct CommonBody<'a> {
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FormatBody<'a>>,
    options: OptionsBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<ThinkBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FormatBody<'a> {
    Word(&'static str),
    Schema(&'a JsonText),
}

#[derive(Serialize)]
#[serde(untagged)]
enum ThinkBody {
    Effort(&'static str),
    Whether(bool),
}

impl From<Think> for ThinkBody {
    fn from(think: Think) -> Self {
        think.effort().map_or(Self::Whether(think.is_on()), Self::Effort)
    }
}

#[derive(Serialize)]
struct OptionsBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typical_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_last_n: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_tau: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_eta: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

impl<'a> CommonBody<'a> {
    pub fn new(
        format: &'a Format,
        sampling: &'a Sampling,
        think: Option<Think>,
        keep_alive: Option<KeepAlive>,
    ) -> Self {
        Self {
            stream: true,
            format: match format {
                Format::Text => None,
                Format::Json => Some(FormatBody::Word("json")),
                Format::Schema(schema) => Some(FormatBody::Schema(schema)),
            },
            options: OptionsBody {
                temperature: sampling.temperature,
                top_p: sampling.top_p,
                top_k: sampling.top_k,
                min_p: sampling.min_p,
                typical_p: sampling.typical_p,
                repeat_penalty: sampling.repeat_penalty,
                repeat_last_n: sampling.repeat_last_n,
                presence_penalty: sampling.presence_penalty,
                frequency_penalty: sampling.frequency_penalty,
                mirostat: sampling.mirostat,
                mirostat_tau: sampling.mirostat_tau,
                mirostat_eta: sampling.mirostat_eta,
                num_ctx: None,
                seed: sampling.seed,
                stop: &sampling.stop,
                num_predict: sampling.max_tokens,
            },
            think: think.map(ThinkBody::from),
            keep_alive: keep_alive.map(|keep_alive| keep_alive.to_string()),
        }
    }
}

impl CommonBody<'_> {
    /// Sets the context size in tokens.
    #[must_use]
    pub fn with_context_size(mut self, tokens: Option<u32>) -> Self {
        self.options.num_ctx = tokens;
        self
    }
}

impl<'a> GenerateBody<'a> {
    pub fn new(model: &'a str, completion: &'a Completion, common: CommonBody<'a>) -> Self {
        Self {
            model,
            prompt: &completion.text,
            suffix: completion.suffix.as_deref(),
            system: completion.system.as_deref(),
            template: completion.template.as_deref(),
            images: completion.images.iter().map(|image| image.to_base64()).collect(),
            context: completion.context.as_deref(),
            // Its template for the gap is not used in a raw prompt.
            raw: completion.raw && completion.suffix.is_none(),
            common,
        }
    }
}

/// Has no order of texts and images: the texts are joined, and the images keep their own order.
#[derive(Serialize)]
pub struct MessageBody<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

impl<'a> From<&'a Message> for MessageBody<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            role: message.role.as_str(),
            content: message.text(),
            images: message.images().map(|image| image.to_base64()).collect(),
            tool_calls: message.tool_calls.iter().map(ToolCallBody::from).collect(),
            tool_call_id: message.tool_call_id.as_deref(),
            tool_name: message.tool_name.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ToolCallBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a JsonText,
}

impl<'a> From<&'a ToolCall> for ToolCallBody<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self {
            id: call.id.as_deref(),
            function: CalledFunction { name: &call.name, arguments: &call.arguments },
        }
    }
}

#[derive(Serialize)]
pub struct EmbedBody<'a> {
    pub model: &'a str,
    pub input: &'a [String],
    /// Whether a text that is too long is cut, and not refused.
    pub truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        images::Image,
        types::{Part, Role},
    };

    #[test]
    fn absent_options_are_not_sent() {
        let (format, sampling) = (Format::Text, Sampling::default());
        let body = GenerateBody::new(
            "m",
            &Completion { text: "hi".into(), ..Default::default() },
            CommonBody::new(&format, &sampling, None, None),
        )
        .json();
        assert_eq!(body, r#"{"model":"m","prompt":"hi","stream":true,"options":{}}"#);
    }

    #[test]
    fn texts_are_joined_and_images_keep_their_order() {
        let (one, two) = (Image::black(1), Image::black(2));
        let says = |text: &str| Part::Text(text.to_owned());
        let content = vec![says("a"), Part::Image(two.clone()), says("b"), Part::Image(one.clone())];
        let message = Message { content, ..Message::new(Role::User, "") };
        let images = format!(r#"["{}","{}"]"#, two.to_base64(), one.to_base64());
        let sent = format!(r#"{{"role":"user","content":"a\nb","images":{images}}}"#);
        assert_eq!(MessageBody::from(&message).json(), sent);
    }

    trait Json: Serialize {
        fn json(&self) -> String {
            serde_json::to_string(self).expect("serializes")
        }
    }
    impl<T: Serialize> Json for T {}
}

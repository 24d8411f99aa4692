//! Body of `POST /v1/responses`, and the request that it makes.

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    input::Input,
    response::Draft,
    text::{TextBody, TextFormat},
    tools::{ResponseTool, ToolChoiceBody},
};
use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
        },
        ignored::{Ignored, IgnoredNames},
        openai::chat::{MAX_TOP_LOGPROBS, ReasoningEffort},
    },
    store::responses::ResponseId,
    types::{ChatRequest, KeepAlive, Prompt, Sampling, Tool},
};

/// Limits of `metadata`, as in OpenAI's API: number of pairs, and characters of a name and of a value.
const MAX_METADATA: usize = 16;
const MAX_METADATA_NAME: usize = 64;
const MAX_METADATA_VALUE: usize = 512;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ResponseBody {
    /// A text, or the items of a conversation, oldest first.
    pub(super) input: Input,
    /// System prompt. Not carried over by `previous_response_id`.
    pub(super) instructions: Option<String>,
    /// Defaults to the server's default model.
    pub(super) model: Option<String>,
    /// Id of a stored response that this one continues.
    pub(super) previous_response_id: Option<String>,
    /// Whether the response can be retrieved and continued later. Stored for 30 days.
    #[schema(default = true)]
    pub(super) store: Option<bool>,
    /// Return at once, and make the response in the background. Needs `store`, and cannot be combined with `stream`.
    #[schema(default = false)]
    pub(super) background: Option<bool>,
    /// Stream the response as server-sent events.
    #[schema(default = false)]
    pub(super) stream: Option<bool>,
    #[serde(rename = "stream_options")]
    #[schema(value_type = Option<ResponseStreamOptions>)]
    _stream_options: Option<Object<ResponseStreamOptions>>,
    /// Maximum number of tokens to generate, including those of reasoning.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_output_tokens: Option<i64>,
    /// Sampling temperature, from 0 (always the most likely token) to 2. Defaults to the model's own, or else 0.7.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Sample only from the most likely tokens, up to this total probability.
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Not in OpenAI's API: sample only from this many of the most likely tokens.
    #[schema(minimum = 1, maximum = 2147483647)]
    top_k: Option<i64>,
    /// Not in OpenAI's API: sample only from tokens with at least this share of the most likely token's probability.
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f64>,
    /// Not in OpenAI's API: penalty for tokens that were used recently; 1 is none.
    #[schema(minimum = 0.01, maximum = 2)]
    repeat_penalty: Option<f64>,
    /// Not in OpenAI's API: random seed. Requests with the same seed get the same answer where the backend supports it.
    seed: Option<i64>,
    /// Not in OpenAI's API: time to keep the model loaded, as in the native API.
    #[serde(default, deserialize_with = "crate::http::native::inference::keep_alive")]
    #[schema(schema_with = crate::http::native::schemas::keep_alive)]
    keep_alive: Option<KeepAlive>,
    #[schema(value_type = Option<TextBody>)]
    text: Option<Object<TextBody>>,
    /// Up to 128 functions that the model can call.
    #[schema(value_type = Option<Vec<ResponseTool>>, max_items = 128)]
    tools: Option<Vec<Object<ResponseTool>>>,
    tool_choice: Option<ToolChoiceBody>,
    /// Whether the model may call several tools in one answer.
    #[schema(default = true)]
    parallel_tool_calls: Option<bool>,
    #[schema(value_type = Option<ReasoningBody>)]
    reasoning: Option<Object<ReasoningBody>>,
    #[schema(value_type = Option<Vec<Include>>)]
    include: Option<Vec<Word<Include>>>,
    /// Number of most likely tokens to return at each position. Needs `message.output_text.logprobs` in `include`.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// Up to 16 texts of your own, returned with the response.
    metadata: Option<BTreeMap<String, String>>,
    /// Only `disabled`: input that is longer than the context of the model is refused.
    #[serde(rename = "truncation")]
    #[schema(value_type = Option<TruncationBody>)]
    _truncation: Option<Word<TruncationBody>>,
    /// Has no effect: it limits the calls of tools that OpenAI runs.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    max_tool_calls: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    user: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    service_tier: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    safety_identifier: Ignored,
    /// Has no effect: prompts are cached in any case.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    prompt_cache_key: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    prompt_cache_retention: Ignored,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    prompt_cache_options: Ignored,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResponseStreamOptions {
    /// Has no effect: events are never obfuscated.
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReasoningBody {
    /// How long a thinking model reasons before it answers. Defaults to the model's own setting.
    #[schema(value_type = Option<ReasoningEffort>)]
    effort: Option<Word<ReasoningEffort>>,
    /// Has no effect: the reasoning itself is in the output.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    summary: Ignored,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
enum Include {
    /// Return the log probability of each token.
    #[serde(rename = "message.output_text.logprobs")]
    Logprobs,
    /// Has no effect: the images of the input are always returned.
    #[serde(rename = "message.input_image.image_url")]
    ImageUrl,
    /// Has no effect: reasoning is not encrypted.
    #[serde(rename = "reasoning.encrypted_content")]
    EncryptedContent,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TruncationBody {
    Disabled,
}

impl ResponseBody {
    pub(super) fn tools(&self) -> usize {
        self.tools.as_ref().map_or(0, Vec::len)
    }

    fn includes(&self, include: Include) -> bool {
        self.include.iter().flatten().any(|Word(included)| *included == include)
    }

    pub(super) fn ignored(&self) -> IgnoredNames {
        let mut names = IgnoredNames::default();
        let reasoning = self.reasoning.as_ref().map(|Object(reasoning)| reasoning.summary);
        let text = self.text.as_ref().map(|Object(text)| text.verbosity);
        for (name, ignored) in [
            ("user", self.user),
            ("service_tier", self.service_tier),
            ("safety_identifier", self.safety_identifier),
            ("prompt_cache_key", self.prompt_cache_key),
            ("prompt_cache_retention", self.prompt_cache_retention),
            ("prompt_cache_options", self.prompt_cache_options),
            ("max_tool_calls", self.max_tool_calls),
            ("reasoning.summary", reasoning.unwrap_or_default()),
            ("text.verbosity", text.unwrap_or_default()),
        ] {
            names.note(name, ignored);
        }
        if let Input::List(items) = &self.input {
            let has_detail = items.iter().any(|Object(item)| item.has_image_detail());
            names.note_if("input.content.detail", has_detail);
        }
        names.note_if("include", self.includes(Include::EncryptedContent));
        names
    }

    /// Whether the response is stored. `can_store` is whether the server stores any.
    pub(super) fn storing(&self, can_store: bool, fields: &mut Fields) -> bool {
        let background = self.background.unwrap_or(false);
        if self.store == Some(true) && !can_store {
            fields.refuse("/store", "cannot be true: this server does not store responses");
        } else if background && !(can_store && self.store.unwrap_or(true)) {
            fields.refuse("/background", "needs a response that is stored");
        }
        if background && self.stream == Some(true) {
            fields.refuse("/background", "cannot be combined with stream");
        }
        can_store && self.store.unwrap_or(true)
    }

    /// Reads everything but the input. The request has no messages yet.
    pub(super) fn read(
        self,
        model: String,
        ids: (ResponseId, Option<ResponseId>),
        store: bool,
        fields: &mut Fields,
    ) -> (ChatRequest, Draft) {
        let top_logprobs = self.top_logprobs(fields);
        let sampling = Sampling {
            temperature: fields.between("/temperature", self.temperature, 0.0, 2.0),
            top_p: fields.between("/top_p", self.top_p, 0.0, 1.0),
            top_k: fields.positive("/top_k", self.top_k),
            min_p: fields.between("/min_p", self.min_p, 0.0, 1.0),
            repeat_penalty: fields.between("/repeat_penalty", self.repeat_penalty, 0.01, 2.0),
            seed: self.seed,
            max_tokens: fields.positive("/max_output_tokens", self.max_output_tokens),
            ..Sampling::default()
        };
        let metadata = metadata(self.metadata.unwrap_or_default(), fields);
        let format: TextFormat =
            self.text.and_then(|Object(text)| text.format).map_or_else(TextFormat::default, |Object(of)| of);
        let tools: Vec<ResponseTool> = self.tools.into_iter().flatten().map(|Object(tool)| tool).collect();
        ResponseTool::check_all(&tools, fields);
        let tool_choice = self.tool_choice.unwrap_or_default();
        let mut offered: Vec<Tool> = tools.iter().map(Tool::from).collect();
        tool_choice.restrict(&mut offered, fields);
        let effort = self.reasoning.and_then(|Object(reasoning)| reasoning.effort).map(|Word(effort)| effort);
        let parallel_tool_calls = self.parallel_tool_calls.unwrap_or(true);
        let draft = Draft {
            id: ids.0,
            created_at: Timestamp::now().as_second(),
            background: self.background.unwrap_or(false),
            model: model.clone(),
            instructions: self.instructions,
            max_output_tokens: sampling.max_tokens,
            metadata,
            parallel_tool_calls,
            previous: ids.1,
            effort,
            store,
            temperature: self.temperature,
            top_p: self.top_p,
            tool_choice: tool_choice.json,
            tools,
            top_logprobs,
            inputs: 0,
            finished: OnceLock::new(),
            format: format.clone(),
        };
        let request = ChatRequest {
            tools: offered,
            tool_choice: tool_choice.choice,
            parallel_tool_calls,
            format: format.read(fields),
            sampling,
            logprobs: top_logprobs,
            think: effort.map(Into::into),
            keep_alive: self.keep_alive,
            ..ChatRequest::new(model, Prompt::Messages(Vec::new()))
        };
        (request, draft)
    }

    fn top_logprobs(&self, fields: &mut Fields) -> Option<u8> {
        let top = self.top_logprobs.unwrap_or(0);
        if !(0..=MAX_TOP_LOGPROBS).contains(&top) {
            fields.refuse("/top_logprobs", format!("must be between 0 and {MAX_TOP_LOGPROBS}"));
        }
        let is_asked = self.includes(Include::Logprobs);
        if top > 0 && !is_asked {
            fields.refuse("/top_logprobs", "needs message.output_text.logprobs in include");
        }
        is_asked.then(|| u8::try_from(top).unwrap_or(0))
    }
}

fn metadata(given: BTreeMap<String, String>, fields: &mut Fields) -> BTreeMap<String, String> {
    if given.len() > MAX_METADATA {
        fields.refuse("/metadata", format!("may have at most {MAX_METADATA} names"));
    }
    let is_long = |text: &str, most: usize| text.chars().nth(most).is_some();
    if given.keys().any(|name| is_long(name, MAX_METADATA_NAME)) {
        fields.refuse("/metadata", format!("may have names of at most {MAX_METADATA_NAME} characters"));
    }
    if given.values().any(|value| is_long(value, MAX_METADATA_VALUE)) {
        fields.refuse("/metadata", format!("may have values of at most {MAX_METADATA_VALUE} characters"));
    }
    given
}

/// Maps the place of a field in our request to its place in OpenAI's.
pub(super) fn response_field(pointer: &str) -> String {
    match pointer {
        "/think" => "/reasoning/effort".to_owned(),
        "/max_tokens" => "/max_output_tokens".to_owned(),
        "/logprobs" => "/include".to_owned(),
        _ if pointer.starts_with("/messages") || pointer == "/images" => "/input".to_owned(),
        _ if pointer.starts_with("/tools/") => pointer.replacen("/function/", "/", 1),
        _ => match pointer.strip_prefix("/format") {
            Some("") => "/text/format".to_owned(),
            Some(place) => format!("/text/format/schema{place}"),
            None => pointer.to_owned(),
        },
    }
}

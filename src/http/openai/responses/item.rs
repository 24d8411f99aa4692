//! Items as JSON: those of a response's output, and those of an input as they are kept.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::openai::logprobs::TokenBody;

/// An item of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::http) enum ItemBody<'a> {
    Message {
        #[schema(value_type = String)]
        id: Cow<'a, str>,
        status: ItemStatus,
        role: ItemRole,
        content: Vec<PartBody<'a>>,
    },
    FunctionCall {
        #[schema(value_type = String)]
        id: Cow<'a, str>,
        status: ItemStatus,
        /// Id of the call, which its output has to name.
        #[schema(value_type = String)]
        call_id: Cow<'a, str>,
        name: &'a str,
        /// JSON in a string.
        arguments: &'a str,
    },
    FunctionCallOutput {
        #[schema(value_type = String)]
        id: Cow<'a, str>,
        status: ItemStatus,
        call_id: &'a str,
        output: OutputBody<'a>,
    },
    Reasoning {
        #[schema(value_type = String)]
        id: Cow<'a, str>,
        status: ItemStatus,
        /// Always empty: the reasoning itself is in the content.
        summary: Vec<String>,
        content: Vec<PartBody<'a>>,
    },
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartBody<'a> {
    InputText {
        text: &'a str,
    },
    InputImage {
        /// The image as the model got it, as a `data:` URI.
        image_url: String,
    },
    OutputText {
        text: &'a str,
        /// Always empty.
        annotations: Vec<String>,
        /// With `include: ["message.output_text.logprobs"]`.
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<TokenBody<'a>>>,
    },
    ReasoningText {
        text: &'a str,
    },
}

/// Output of a function.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OutputBody<'a> {
    Text(&'a str),
    Parts(Vec<PartBody<'a>>),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum ItemRole {
    System,
    /// OpenAI's newer name for `system`.
    Developer,
    User,
    Assistant,
}

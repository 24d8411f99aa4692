//! Responses of an Ollama server, except for streams.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    error::{Error, Kind},
    types::JsonText,
    wire::{foreign::json_fault, maybe_printable, printable, tokens},
};

/// Body of an error response.
#[derive(Deserialize)]
pub struct ErrorBody {
    pub error: String,
}

#[derive(Deserialize)]
pub struct EmbedAnswer {
    pub embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    pub total_duration: u64,
    #[serde(default)]
    pub load_duration: u64,
    #[serde(default, deserialize_with = "tokens")]
    pub prompt_eval_count: u64,
}

#[derive(Deserialize)]
pub struct Tags {
    pub models: Vec<TagModel>,
}

#[derive(Deserialize)]
pub struct TagModel {
    pub name: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "printable")]
    pub digest: String,
    #[serde(default)]
    pub details: Details,
}

#[derive(Clone, Default, Deserialize)]
pub struct Details {
    #[serde(default, deserialize_with = "maybe_printable")]
    pub family: Option<String>,
    #[serde(default, deserialize_with = "maybe_printable")]
    pub parameter_size: Option<String>,
    #[serde(default, deserialize_with = "maybe_printable")]
    pub quantization_level: Option<String>,
}

/// The part of `/api/show` that we use.
#[derive(Deserialize)]
pub struct Show {
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub model_info: BTreeMap<String, JsonText>,
}

#[derive(Deserialize)]
pub struct Version {
    #[serde(deserialize_with = "printable")]
    pub version: String,
}

/// Ollama sent something that is not its protocol.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn malformed(source: serde_json::Error) -> Error {
    Error::new(Kind::BadGateway, "Ollama sent an invalid response.").with_source(json_fault(&source))
}

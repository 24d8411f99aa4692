//! Responses of an Ollama server, except for streams.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::{Error, Kind},
    types::JsonText,
    wire::{foreign::json_fault, maybe_printable, or_default, printable, tokens},
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

/// The texts of `/api/show`.
#[derive(Deserialize)]
pub struct ShowDetails {
    /// Lines of a name and a value.
    #[serde(default)]
    pub parameters: String,
    pub template: Option<String>,
    pub system: Option<String>,
    pub license: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub model_info: Map<String, Value>,
}

/// Reads the parameters of `/api/show`, where a name that is repeated has a list of values.
pub fn parameters(text: &str) -> Map<String, Value> {
    let mut parameters = Map::new();
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once(char::is_whitespace) else { continue };
        let value = value.trim();
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        match parameters.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                parameters.insert(name.to_owned(), value);
            }
        }
    }
    parameters
}

/// A line of `/api/pull`.
#[derive(Deserialize)]
pub struct PullLine {
    #[serde(default, deserialize_with = "printable")]
    pub status: String,
    #[serde(default, deserialize_with = "maybe_printable")]
    pub error: Option<String>,
    #[serde(default, deserialize_with = "maybe_printable")]
    pub digest: Option<String>,
    pub total: Option<u64>,
    pub completed: Option<u64>,
}

/// Reply of `/api/ps`.
#[derive(Deserialize)]
pub struct Running {
    pub models: Vec<RunningModel>,
}

#[derive(Deserialize)]
pub struct RunningModel {
    #[serde(deserialize_with = "printable")]
    pub name: String,
    /// Bytes, of all memory.
    #[serde(default)]
    pub size: u64,
    /// Bytes of it that are GPU memory.
    #[serde(default)]
    pub size_vram: u64,
    pub context_length: Option<u64>,
    pub expires_at: Option<Timestamp>,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_read_from_their_lines() {
        let text = "num_ctx                        4096\nstop                           \"<|im_start|>\"\n\
                    stop                           \"<|im_end|>\"\ntemperature 0.5\n\nodd one two\n";
        let expected = json!({
            "num_ctx": 4096, "stop": ["<|im_start|>", "<|im_end|>"], "temperature": 0.5, "odd": "one two"
        });
        assert_eq!(Value::Object(parameters(text)), expected);
    }
}

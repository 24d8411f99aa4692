//! Defaults that a manifest gives its model: what a Modelfile says with PARAMETER, SYSTEM, TEMPLATE and MESSAGE.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Defaults for requests that say nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// System prompt.
    pub system: Option<String>,
    /// Template in the language of Go. The engine uses the one in the GGUF file; this one is only shown.
    pub template: Option<String>,
    /// Messages that go before those of each chat, after the system prompt.
    pub messages: Vec<DefaultMessage>,
    pub parameters: Parameters,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DefaultMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

/// Parameters by their names in a Modelfile, as far as they mean something here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    pub seed: Option<i64>,
    pub stop: Vec<String>,
    /// Tokens of an answer; absent when negative, which means no limit.
    pub num_predict: Option<u32>,
    /// Tokens of the context.
    pub num_ctx: Option<u32>,
    /// All parameters, as they are written.
    pub all: Map<String, Value>,
}

impl Parameters {
    /// Reads a `params` layer. A parameter whose value has the wrong type is left out.
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let all: Map<String, Value> = serde_json::from_slice(bytes)?;
        let whole = |name: &str| all.get(name).and_then(Value::as_i64);
        let small = |name: &str| whole(name).and_then(|number| u32::try_from(number).ok());
        let number = |name: &str| all.get(name).and_then(Value::as_f64).map(|number| number as f32);
        let stop = match all.get("stop") {
            Some(Value::String(stop)) => vec![stop.clone()],
            Some(Value::Array(stops)) => stops
                .iter()
                .filter_map(Value::as_str)
                .filter(|stop| !stop.is_empty())
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            temperature: number("temperature"),
            top_p: number("top_p"),
            top_k: small("top_k"),
            seed: whole("seed"),
            stop,
            num_predict: small("num_predict"),
            num_ctx: small("num_ctx").filter(|tokens| *tokens > 0),
            all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_ollama_writes_them() {
        let bytes = br#"{"num_ctx":4096,"stop":["<|im_end|>",""],"temperature":0.6,"num_predict":-1,"top_k":20,"min_p":0.1}"#;
        let parameters = Parameters::parse(bytes).expect("an object");
        assert_eq!(parameters.all.len(), 6);
        let expected = Parameters {
            temperature: Some(0.6),
            top_k: Some(20),
            stop: vec!["<|im_end|>".to_owned()],
            num_ctx: Some(4096),
            all: parameters.all.clone(),
            ..Parameters::default()
        };
        assert_eq!(parameters, expected);
        let odd =
            Parameters::parse(br#"{"stop":"x","num_ctx":0,"top_k":"many","seed":7}"#).expect("an object");
        assert_eq!((odd.stop, odd.num_ctx, odd.top_k, odd.seed), (vec!["x".to_owned()], None, None, Some(7)));
        assert!(Parameters::parse(b"[]").is_err());
    }
}

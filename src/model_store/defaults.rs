//! Defaults that a manifest gives its model: what a Modelfile says with PARAMETER, SYSTEM, TEMPLATE and MESSAGE.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::types::{ModelDefaults, Role, Sampling};

/// Defaults for requests that say nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// System prompt.
    pub system: Option<String>,
    /// Template in the language of Go. The engine uses the one in the GGUF file, or its own for the same models.
    pub template: Option<String>,
    pub license: Option<String>,
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

/// Parameters of a Modelfile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    pub sampling: Sampling,
    /// Tokens of the context (`num_ctx`).
    pub context: Option<u32>,
    /// All parameters, as they are written.
    pub all: Map<String, Value>,
}

impl Parameters {
    /// Reads a `params` layer. A parameter whose value no request may have is left out.
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let all: Map<String, Value> = serde_json::from_slice(bytes)?;
        let whole = |name: &str| all.get(name).and_then(Value::as_i64);
        let positive = |name: &str| {
            whole(name).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
        };
        let between = |name: &str, most: f64| {
            let number = all.get(name).and_then(Value::as_f64);
            number.filter(|number| (0.0..=most).contains(number)).map(|number| number as f32)
        };
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
        let sampling = Sampling {
            temperature: between("temperature", 2.0),
            top_p: between("top_p", 1.0),
            top_k: positive("top_k"),
            seed: whole("seed"),
            stop,
            // Negative numbers mean no limit.
            max_tokens: positive("num_predict"),
        };
        Ok(Self { sampling, context: positive("num_ctx"), all })
    }
}

impl Defaults {
    /// Those that apply to requests, whichever backend they are for.
    pub(super) fn for_requests(&self) -> ModelDefaults {
        let message = |message: &DefaultMessage| {
            let role = [Role::System, Role::User, Role::Assistant];
            let role = role.into_iter().find(|role| role.as_str() == message.role)?;
            Some((role, message.content.clone()))
        };
        ModelDefaults {
            sampling: self.parameters.sampling.clone(),
            system: self.system.clone(),
            messages: self.messages.iter().filter_map(message).collect(),
        }
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
        let sampling = Sampling {
            temperature: Some(0.6),
            top_k: Some(20),
            stop: vec!["<|im_end|>".to_owned()],
            ..Sampling::default()
        };
        let expected = Parameters { sampling, context: Some(4096), all: parameters.all.clone() };
        assert_eq!(parameters, expected);
        let odd =
            br#"{"stop":"x","num_ctx":0,"top_k":"many","seed":7,"temperature":9,"top_p":-1,"num_predict":0}"#;
        let odd = Parameters::parse(odd).expect("an object");
        let sampling = Sampling { stop: vec!["x".to_owned()], seed: Some(7), ..Sampling::default() };
        assert_eq!((odd.sampling, odd.context), (sampling, None));
        assert!(Parameters::parse(b"[]").is_err());
    }
}

//! Everything in a model's manifest besides its GGUF files: what a Modelfile says with PARAMETER, SYSTEM, TEMPLATE,
//! MESSAGE and LICENSE.

use std::{ops::RangeInclusive, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::types::{ModelDefaults, Role, Sampling};

/// Modelfile of an installed model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modelfile {
    pub defaults: Arc<ModelDefaults>,
    /// Context size in tokens (`num_ctx`).
    pub context: Option<u32>,
    /// All parameters, as they are written.
    pub parameters: Map<String, Value>,
    /// Template in the language of Go. The engine uses the one in the GGUF file, or its own for the same models.
    pub template: Option<String>,
    pub license: Option<String>,
}

/// Turn that goes before those of each chat.
#[derive(Deserialize)]
pub(super) struct Message {
    /// `system`, `user` or `assistant`.
    role: String,
    content: String,
}

/// Returns the turns without those of other roles.
pub(super) fn turns(messages: Vec<Message>) -> Vec<(Role, String)> {
    let turn = |Message { role, content }| {
        let roles = [Role::System, Role::User, Role::Assistant];
        Some((roles.into_iter().find(|known| known.as_str() == role)?, content))
    };
    messages.into_iter().filter_map(turn).collect()
}

/// Returns the context size, if the parameters state one that is possible.
pub(super) fn context(parameters: &Map<String, Value>) -> Option<u32> {
    positive(parameters, "num_ctx")
}

/// Returns the sampling parameters. A value that no request may have is left out.
pub(super) fn sampling(parameters: &Map<String, Value>) -> Sampling {
    let within = |name: &str, range: RangeInclusive<f64>| {
        let number = parameters.get(name).and_then(Value::as_f64);
        number.filter(|number| range.contains(number)).map(|number| number as f32)
    };
    let stop = match parameters.get("stop") {
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => {
            let stops = stops.iter().filter_map(Value::as_str).filter(|stop| !stop.is_empty());
            stops.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    Sampling {
        temperature: within("temperature", 0.0..=2.0),
        top_p: within("top_p", 0.0..=1.0),
        top_k: positive(parameters, "top_k"),
        min_p: within("min_p", 0.0..=1.0),
        typical_p: within("typical_p", 0.0..=1.0),
        repeat_penalty: within("repeat_penalty", 0.01..=2.0),
        repeat_last_n: parameters
            .get("repeat_last_n")
            .and_then(Value::as_i64)
            .and_then(|n| n.try_into().ok())
            .filter(|tokens| *tokens >= -1),
        presence_penalty: within("presence_penalty", -2.0..=2.0),
        frequency_penalty: within("frequency_penalty", -2.0..=2.0),
        mirostat: positive(parameters, "mirostat").filter(|version| *version <= 2),
        mirostat_tau: within("mirostat_tau", 0.0..=100.0),
        mirostat_eta: within("mirostat_eta", 0.0..=1.0),
        logit_bias: Vec::new(),
        seed: parameters.get("seed").and_then(Value::as_i64),
        stop,
        // Negative numbers mean no limit.
        max_tokens: positive(parameters, "num_predict"),
    }
}

fn positive(parameters: &Map<String, Value>, name: &str) -> Option<u32> {
    let number = parameters.get(name).and_then(Value::as_i64)?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_ollama_writes_them() {
        let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).expect("an object");
        let parameters = parse(
            r#"{"num_ctx":4096,"stop":["<|im_end|>",""],"temperature":0.6,"num_predict":-1,"top_k":20,"min_p":0.1}"#,
        );
        let expected = Sampling {
            temperature: Some(0.6),
            top_k: Some(20),
            min_p: Some(0.1),
            stop: vec!["<|im_end|>".to_owned()],
            ..Sampling::default()
        };
        assert_eq!((sampling(&parameters), context(&parameters)), (expected, Some(4096)));
        let odd = parse(
            r#"{"stop":"x","num_ctx":0,"top_k":"many","seed":7,"temperature":9,"top_p":-1,"num_predict":0}"#,
        );
        let expected = Sampling { stop: vec!["x".to_owned()], seed: Some(7), ..Sampling::default() };
        assert_eq!((sampling(&odd), context(&odd)), (expected, None));
    }
}

//! A model's vocabulary in a verbose reply of `/api/show`: what its GGUF file says, as JSON.

use serde::Deserialize;

use crate::{
    error::{Error, Kind, Result},
    types::{MAX_CONTROL_TOKENS, TokenType, is_control_token},
};

#[derive(Deserialize)]
pub struct Vocabulary {
    #[serde(default)]
    template: String,
    #[serde(default)]
    model_info: Option<ModelInfo>,
}

#[derive(Default, Deserialize)]
struct ModelInfo {
    #[serde(default, rename = "tokenizer.ggml.tokens")]
    tokens: Option<Vec<String>>,
    #[serde(default, rename = "tokenizer.ggml.token_type")]
    types: Option<Vec<u32>>,
    #[serde(default, rename = "tokenizer.chat_template")]
    chat_template: Option<String>,
}

impl Vocabulary {
    /// Returns the control tokens; none when the vocabulary is left out.
    ///
    /// # Errors
    /// `BadGateway` when there are too many to be one.
    pub fn control_tokens(self) -> Result<Vec<String>> {
        let ModelInfo { tokens, types, chat_template } = self.model_info.unwrap_or_default();
        // Ollama's own template, and the one that its maker put into the file.
        let templates = [self.template, chat_template.unwrap_or_default()].concat();
        let types = types.unwrap_or_default();
        let kind = |at: usize| types.get(at).copied().and_then(TokenType::of);
        let tokens = tokens.into_iter().flatten().enumerate();
        let control: Vec<String> = tokens
            .filter(|(at, token)| is_control_token(token, kind(*at), &templates))
            .map(|(_, token)| token)
            .take(MAX_CONTROL_TOKENS + 1)
            .collect();
        if control.len() > MAX_CONTROL_TOKENS {
            return Err(Error::new(Kind::BadGateway, "The model has too many control tokens."));
        }
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn control_tokens(shown: &Value) -> Vec<String> {
        let vocabulary: Vocabulary = serde_json::from_str(&shown.to_string()).expect("a vocabulary");
        vocabulary.control_tokens().expect("not too many")
    }

    #[test]
    fn control_tokens_are_those_of_their_types_and_names() {
        let info = json!({
            "qwen2.context_length": 32768,
            "tokenizer.ggml.tokens": ["hi", "<unk>", "<|im_end|>", "<tool_call>", "<think>", "<td>", "    ", "</s>"],
            "tokenizer.ggml.token_type": [1, 2, 3, 4, 4, 4, 4, 1],
            "tokenizer.ggml.merges": ["h i"],
            "tokenizer.chat_template": "{{ '<think>' }}    ",
        });
        let shown = json!({"template": "<tool_call>{{ .Prompt }}", "model_info": info});
        assert_eq!(control_tokens(&shown), ["<unk>", "<|im_end|>", "<tool_call>", "<think>", "</s>"]);
    }

    #[test]
    fn a_vocabulary_that_is_left_out_has_none() {
        for info in [
            json!(null),
            json!({}),
            json!({"tokenizer.ggml.tokens": null}),
            json!({"tokenizer.ggml.token_type": [3]}),
        ] {
            assert_eq!(control_tokens(&json!({ "model_info": info })), Vec::<String>::new());
        }
        assert_eq!(control_tokens(&json!({})), Vec::<String>::new());
        let untyped = json!({"model_info": {"tokenizer.ggml.tokens": ["hi", "<|im_end|>"]}});
        assert_eq!(control_tokens(&untyped), ["<|im_end|>"]);
    }
}

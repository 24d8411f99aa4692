//! Sampling parameters that `/v1/chat/completions` and `/v1/completions` share.

use std::collections::BTreeMap;

use crate::{
    http::extract::{fields::Fields, texts::Texts},
    http::native::inference::STOP_LIMITS,
};

use super::choices::MAX_CHOICES;

/// Maximum number of tokens in `logit_bias`.
const MAX_BIASES: usize = 1024;

/// Declares a body with the parameters that both endpoints share. A macro and not `#[serde(flatten)]`, which buffers
/// the whole body and cannot say which field was wrong.
macro_rules! body {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            $($own)*
            /// Defaults to the server's default model.
            model: Option<String>,
            /// Stream the response as server-sent events, the last of which is `[DONE]`.
            #[schema(default = false)]
            stream: Option<bool>,
            #[schema(value_type = Option<super::sampling::StreamOptionsBody>)]
            stream_options: Option<$crate::http::extract::object::Object<super::sampling::StreamOptionsBody>>,
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
            /// Penalty for tokens by how often they were used; 0 is none.
            #[schema(minimum = -2, maximum = 2)]
            frequency_penalty: Option<f64>,
            /// Penalty for tokens that were used at all; 0 is none.
            #[schema(minimum = -2, maximum = 2)]
            presence_penalty: Option<f64>,
            /// Bias for tokens, by token id, from -100 (never) to 100 (always).
            #[schema(value_type = Option<std::collections::BTreeMap<String, f64>>)]
            logit_bias: Option<std::collections::BTreeMap<String, f64>>,
            /// Random seed. Requests with the same seed get the same answer where the backend supports it.
            seed: Option<i64>,
            /// String, or list of up to 16 strings, at which the answer ends; each has 1 to 512 bytes.
            #[schema(schema_with = $crate::http::native::schemas::stop)]
            stop: Option<$crate::http::extract::texts::Texts>,
            /// Number of answers.
            #[schema(default = 1, minimum = 1, maximum = 16)]
            n: Option<i64>,
            /// Not in OpenAI's API: time to keep the model loaded, as in the native API.
            #[serde(default, deserialize_with = "crate::http::native::inference::keep_alive")]
            #[schema(schema_with = $crate::http::native::schemas::keep_alive)]
            keep_alive: Option<crate::types::KeepAlive>,
            /// Has no effect.
            #[serde(default)]
            #[schema(value_type = Option<String>)]
            user: $crate::http::ignored::Ignored,
        }

        impl $name {
            /// Returns the sampling parameters, without the number of tokens.
            fn sampling(&mut self, fields: &mut Fields) -> Sampling {
                Sampling {
                    temperature: fields.between("/temperature", self.temperature, 0.0, 2.0),
                    top_p: fields.between("/top_p", self.top_p, 0.0, 1.0),
                    top_k: fields.positive("/top_k", self.top_k),
                    min_p: fields.between("/min_p", self.min_p, 0.0, 1.0),
                    repeat_penalty: fields.between("/repeat_penalty", self.repeat_penalty, 0.01, 2.0),
                    frequency_penalty: fields.between("/frequency_penalty", self.frequency_penalty, -2.0, 2.0),
                    presence_penalty: fields.between("/presence_penalty", self.presence_penalty, -2.0, 2.0),
                    logit_bias: super::sampling::logit_bias(self.logit_bias.take(), fields),
                    seed: self.seed,
                    stop: super::sampling::stop(self.stop.take(), fields),
                    ..Sampling::default()
                }
            }

            fn include_usage(&self) -> bool {
                self.stream_options.as_ref().is_some_and(|options| options.0.include_usage == Some(true))
            }
        }
    };
}

pub(super) use body;

#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamOptionsBody {
    /// Send the usage in an event at the end.
    #[schema(default = false)]
    pub(super) include_usage: Option<bool>,
    /// Has no effect: events are never obfuscated.
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

pub(super) fn stop(stop: Option<Texts>, fields: &mut Fields) -> Vec<String> {
    fields.texts("/stop", stop, STOP_LIMITS)
}

pub(super) fn logit_bias(given: Option<BTreeMap<String, f64>>, fields: &mut Fields) -> Vec<(u32, f32)> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_BIASES {
        fields.refuse("/logit_bias", format!("may have at most {MAX_BIASES} tokens"));
        return Vec::new();
    }
    let mut biases = Vec::with_capacity(given.len());
    for (token, bias) in given {
        match token.parse() {
            Err(_) => fields.refuse("/logit_bias", "must have token ids as its keys"),
            Ok(token) => {
                let bias = fields.between(&format!("/logit_bias/{token}"), Some(bias), -100.0, 100.0);
                biases.extend(bias.map(|bias| (token, bias)));
            }
        }
    }
    biases.sort_by_key(|(token, _)| *token);
    biases
}

/// Number of answers; 1 when it is refused.
pub(super) fn choices(given: Option<i64>, fields: &mut Fields) -> usize {
    let Some(given) = given else { return 1 };
    let choices = usize::try_from(given).ok().filter(|choices| (1..=MAX_CHOICES).contains(choices));
    choices.unwrap_or_else(|| {
        fields.refuse("/n", format!("must be between 1 and {MAX_CHOICES}"));
        1
    })
}

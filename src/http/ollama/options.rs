//! `options` of a request: how the model samples, and how Ollama would load it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::{
    http::{
        extract::{fields::Fields, texts::Texts},
        ignored::{Ignored, IgnoredNames},
        native::inference::STOP_LIMITS,
    },
    types::Sampling,
};

/// 2^53: from here on, a float does not stand for one whole number.
const SAFE_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Declares the options. Those without effect are only names.
macro_rules! options {
    ($(#[$meta:meta])* struct $name:ident { $($own:tt)* } ignored { $($ignored:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($own)*
            $(
                /// Has no effect.
                #[serde(default)]
                #[schema(value_type = Option<serde_json::Value>)]
                $ignored: Ignored,
            )*
        }

        impl $name {
            /// Names the options that have no effect, as parts of a field.
            pub(super) fn note_ignored(&self, field: &str, names: &mut IgnoredNames) {
                $(
                    if self.$ignored.is_sent() {
                        names.add(format!("{field}.{}", stringify!($ignored)));
                    }
                )*
            }
        }
    };
}

options! {
    struct OllamaOptions {
        /// Maximum number of tokens to generate; 0, -1 and -2 are the model's own limit, or none.
        #[schema(minimum = -2, maximum = 2147483647)]
        #[serde(default, deserialize_with = "whole_number")]
        num_predict: Option<i64>,
        /// Sampling temperature, from 0 (always the most likely token) to 2.
        #[schema(minimum = 0, maximum = 2)]
        temperature: Option<f64>,
        /// Sample only from this many of the most likely tokens; 0 is all.
        #[schema(minimum = 0, maximum = 2147483647)]
        #[serde(default, deserialize_with = "whole_number")]
        top_k: Option<i64>,
        /// Sample only from the most likely tokens, up to this total probability.
        #[schema(minimum = 0, maximum = 1)]
        top_p: Option<f64>,
        /// Sample only from tokens with at least this share of the most likely token's probability.
        #[schema(minimum = 0, maximum = 1)]
        min_p: Option<f64>,
        /// Locally typical sampling; 1 is off.
        #[schema(minimum = 0, maximum = 1)]
        typical_p: Option<f64>,
        /// Tokens that `repeat_penalty` looks back at; 0 is none, -1 the whole context.
        #[schema(minimum = -1, maximum = 2147483647)]
        #[serde(default, deserialize_with = "whole_number")]
        repeat_last_n: Option<i64>,
        /// Penalty for tokens that were used recently; 1 is none.
        #[schema(minimum = 0.01, maximum = 2)]
        repeat_penalty: Option<f64>,
        /// Penalty for tokens that were used at all; 0 is none.
        #[schema(minimum = -2, maximum = 2)]
        presence_penalty: Option<f64>,
        /// Penalty for tokens by how often they were used; 0 is none.
        #[schema(minimum = -2, maximum = 2)]
        frequency_penalty: Option<f64>,
        /// Mirostat sampling: 0 is off, 1 and 2 are its versions.
        #[schema(minimum = 0, maximum = 2)]
        #[serde(default, deserialize_with = "whole_number")]
        mirostat: Option<i64>,
        /// Target entropy of Mirostat.
        #[schema(minimum = 0, maximum = 100)]
        mirostat_tau: Option<f64>,
        /// Learning rate of Mirostat.
        #[schema(minimum = 0, maximum = 1)]
        mirostat_eta: Option<f64>,
        /// Random seed; -1 is none.
        #[serde(default, deserialize_with = "whole_number")]
        seed: Option<i64>,
        /// String, or list of up to 16 strings, at which the answer ends; each has 1 to 512 bytes.
        #[schema(schema_with = crate::http::native::schemas::stop)]
        stop: Option<Texts>,
        /// Context size in tokens. One that is larger than the model's on this server has no effect, except when the
        /// model is loaded by an empty prompt.
        #[schema(minimum = 1, maximum = 2147483647)]
        #[serde(default, deserialize_with = "whole_number")]
        num_ctx: Option<i64>,
    }
    ignored {
        num_keep, num_batch, num_gpu, main_gpu, num_thread, numa, use_mmap, use_mlock, low_vram, vocab_only, f16_kv,
        logits_all, embedding_only, num_gqa, rope_frequency_base, rope_frequency_scale, draft_num_predict,
        penalize_newline, tfs_z,
    }
}

impl OllamaOptions {
    pub(super) fn sampling(&mut self, fields: &mut Fields) -> Sampling {
        let mut share = |name: &str, value, from, to| fields.between(&pointer(name), value, from, to);
        let shares = Sampling {
            temperature: share("temperature", self.temperature, 0.0, 2.0),
            top_p: share("top_p", self.top_p, 0.0, 1.0),
            min_p: share("min_p", self.min_p, 0.0, 1.0),
            typical_p: share("typical_p", self.typical_p, 0.0, 1.0),
            repeat_penalty: share("repeat_penalty", self.repeat_penalty, 0.01, 2.0),
            presence_penalty: share("presence_penalty", self.presence_penalty, -2.0, 2.0),
            frequency_penalty: share("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            mirostat_tau: share("mirostat_tau", self.mirostat_tau, 0.0, 100.0),
            mirostat_eta: share("mirostat_eta", self.mirostat_eta, 0.0, 1.0),
            ..Sampling::default()
        };
        Sampling {
            top_k: whole("top_k", self.top_k, 0..=i32::MAX, fields).and_then(|number| number.try_into().ok()),
            repeat_last_n: whole("repeat_last_n", self.repeat_last_n, -1..=i32::MAX, fields),
            mirostat: whole("mirostat", self.mirostat, 0..=2, fields)
                .and_then(|number| number.try_into().ok()),
            max_tokens: self.max_tokens(fields),
            seed: self.seed.filter(|seed| *seed != -1),
            stop: fields.texts(&pointer("stop"), self.stop.take(), STOP_LIMITS),
            ..shares
        }
    }

    pub(super) fn context_size(&self, fields: &mut Fields) -> Option<u32> {
        fields.positive(&pointer("num_ctx"), self.num_ctx)
    }

    /// Names all options that were sent: a model that embeds does not sample.
    pub(super) fn note_all(&self, names: &mut IgnoredNames) {
        for (name, is_sent) in [
            ("options.num_predict", self.num_predict.is_some()),
            ("options.temperature", self.temperature.is_some()),
            ("options.top_k", self.top_k.is_some()),
            ("options.top_p", self.top_p.is_some()),
            ("options.min_p", self.min_p.is_some()),
            ("options.typical_p", self.typical_p.is_some()),
            ("options.repeat_last_n", self.repeat_last_n.is_some()),
            ("options.repeat_penalty", self.repeat_penalty.is_some()),
            ("options.presence_penalty", self.presence_penalty.is_some()),
            ("options.frequency_penalty", self.frequency_penalty.is_some()),
            ("options.mirostat", self.mirostat.is_some()),
            ("options.mirostat_tau", self.mirostat_tau.is_some()),
            ("options.mirostat_eta", self.mirostat_eta.is_some()),
            ("options.seed", self.seed.is_some()),
            ("options.stop", self.stop.is_some()),
            ("options.num_ctx", self.num_ctx.is_some()),
        ] {
            if is_sent {
                names.add(name);
            }
        }
        self.note_ignored("options", names);
    }

    /// None for 0, -1 and -2, which are no limit, as in Ollama.
    fn max_tokens(&self, fields: &mut Fields) -> Option<u32> {
        match self.num_predict {
            None | Some(-2..=0) => None,
            Some(1..) => fields.positive(&pointer("num_predict"), self.num_predict),
            Some(_) => {
                fields.refuse(pointer("num_predict"), "must be at least 1, or 0 or -1 for no limit");
                None
            }
        }
    }
}

fn pointer(name: &str) -> String {
    format!("/options/{name}")
}

/// Ollama's clients may write a whole number as `40.0`.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number within the range of safe ones")]
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < SAFE_WHOLE).then_some(number as i64);
    let wrong = || D::Error::custom("must be a whole number");
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

fn whole(name: &str, value: Option<i64>, range: RangeInclusive<i32>, fields: &mut Fields) -> Option<i32> {
    let value = value?;
    let number = i32::try_from(value).ok().filter(|number| range.contains(number));
    if number.is_none() {
        let (from, to) = range.into_inner();
        fields.refuse(pointer(name), format!("must be a whole number from {from} to {to}"));
    }
    number
}

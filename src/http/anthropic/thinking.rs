//! How a model thinks, and the shape of its answer.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
        },
        ignored::IgnoredNames,
    },
    types::{Format, JsonText, Think},
};

/// Least `budget_tokens`, as in Anthropic's API.
const MIN_BUDGET: i64 = 1024;

/// Whether the model reasons before it answers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThinkingBody {
    /// `enabled` needs a thinking model; `adaptive` leaves it to the model.
    #[schema(value_type = ThinkingType)]
    r#type: Word<ThinkingType>,
    /// Has no effect: models think as long as they need to.
    #[schema(minimum = 1024)]
    budget_tokens: Option<i64>,
    /// With `omitted`, thinking blocks come without their text.
    #[schema(value_type = Option<ThinkingDisplay>)]
    display: Option<Word<ThinkingDisplay>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ThinkingType {
    Enabled,
    Disabled,
    Adaptive,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ThinkingDisplay {
    Summarized,
    Omitted,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputConfig {
    /// How long the model thinks, with `thinking: {"type": "enabled"}`. Has no effect otherwise.
    #[schema(value_type = Option<Effort>)]
    effort: Option<Word<Effort>>,
    #[schema(value_type = Option<OutputFormat>)]
    format: Option<Object<OutputFormat>>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// Shape of the answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OutputFormat {
    #[serde(rename = "type")]
    #[schema(value_type = OutputFormatType)]
    _type: Word<OutputFormatType>,
    /// See docs/schemas.md for what is enforced.
    #[schema(value_type = Object)]
    schema: JsonText,
}

/// Always `json_schema`.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutputFormatType {
    JsonSchema,
}

impl ThinkingBody {
    pub(super) fn is_enabled(&self) -> bool {
        self.r#type.0 == ThinkingType::Enabled
    }

    pub(super) fn is_shown(&self) -> bool {
        self.display.is_none_or(|Word(display)| display == ThinkingDisplay::Summarized)
    }

    /// Returns how long to think; `None` leaves it to the model.
    pub(super) fn think(&self, config: &OutputConfig) -> Option<Think> {
        match self.r#type.0 {
            ThinkingType::Adaptive => None,
            ThinkingType::Disabled => Some(Think::Off),
            ThinkingType::Enabled => Some(match config.effort {
                None => Think::On,
                Some(Word(Effort::Low)) => Think::Low,
                Some(Word(Effort::Medium)) => Think::Medium,
                Some(Word(Effort::High | Effort::Xhigh | Effort::Max)) => Think::High,
            }),
        }
    }

    pub(super) fn check(&self, max_tokens: Option<i64>, fields: &mut Fields) {
        let pointer = "/thinking/budget_tokens";
        match self.budget_tokens {
            None if self.is_enabled() => fields.refuse(pointer, "is required with the type enabled"),
            Some(_) if !self.is_enabled() => fields.refuse(pointer, "is only allowed with the type enabled"),
            Some(tokens) if tokens < MIN_BUDGET => {
                fields.refuse(pointer, format!("must be at least {MIN_BUDGET}"));
            }
            Some(tokens) if max_tokens.is_some_and(|most| tokens >= most) => {
                fields.refuse(pointer, "must be less than max_tokens");
            }
            _ => {}
        }
    }

    pub(super) fn note_ignored(&self, names: &mut IgnoredNames) {
        names.note_if("thinking.budget_tokens", self.budget_tokens.is_some());
    }
}

impl OutputConfig {
    pub(super) fn note_ignored(&self, thinking: Option<&ThinkingBody>, names: &mut IgnoredNames) {
        let has_effect = thinking.is_some_and(ThinkingBody::is_enabled);
        names.note_if("output_config.effort", self.effort.is_some() && !has_effect);
    }

    pub(super) fn into_format(self, fields: &mut Fields) -> Format {
        match self.format {
            None => Format::Text,
            Some(Object(OutputFormat { schema, .. })) if schema.is_object() => Format::Schema(schema),
            Some(_) => {
                fields.refuse("/output_config/format/schema", "must be a JSON Schema object");
                Format::Text
            }
        }
    }
}

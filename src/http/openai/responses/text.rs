//! Format of the answer's text.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    http::{
        extract::{
            fields::Fields,
            object::{Object, Word},
        },
        ignored::Ignored,
    },
    types::{Format, JsonText},
};

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TextBody {
    #[schema(value_type = Option<TextFormat>)]
    pub(super) format: Option<Object<TextFormat>>,
    /// Has no effect.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) verbosity: Ignored,
}

/// Shape of the answer.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TextFormat {
    #[schema(value_type = TextFormatType)]
    r#type: Word<TextFormatType>,
    /// For `json_schema`. Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// For `json_schema`. Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// For `json_schema`. See docs/schemas.md for what is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    schema: Option<JsonText>,
    /// For `json_schema`. Has no effect: answers always match their schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextFormatType {
    Text,
    JsonObject,
    JsonSchema,
}

impl Default for TextFormat {
    fn default() -> Self {
        let r#type = Word(TextFormatType::Text);
        Self { r#type, name: None, description: None, schema: None, strict: None }
    }
}

impl TextFormat {
    pub(super) fn read(&self, fields: &mut Fields) -> Format {
        match (self.r#type.0, &self.schema) {
            (TextFormatType::JsonSchema, Some(schema)) if schema.is_object() => {
                return Format::Schema(schema.clone());
            }
            (TextFormatType::JsonSchema, Some(_)) => {
                fields.refuse("/text/format/schema", "must be a JSON Schema object");
            }
            (TextFormatType::JsonSchema, None) => {
                fields.refuse("/text/format/schema", "is required for the type json_schema");
            }
            (_, Some(_)) => {
                fields.refuse("/text/format/schema", "is only allowed for the type json_schema");
            }
            (TextFormatType::JsonObject, None) => return Format::Json,
            (TextFormatType::Text, None) => {}
        }
        Format::Text
    }
}

//! Content of an item of the input: a text, or a list of parts.

use serde::Deserialize;
use utoipa::ToSchema;

use super::text_or_list::TextOrList;
use crate::{
    http::{
        extract::{
            fields::Fields,
            images::ReadPart,
            object::{Object, Word},
        },
        ignored::Ignored,
        native::content::ImageDetail,
    },
    images::EncodedImage,
};

pub(super) type Content = TextOrList<InputPart>;

/// A part of the content of an item.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputPart {
    #[schema(value_type = InputPartType)]
    r#type: Word<InputPartType>,
    /// For a text.
    text: Option<String>,
    /// For `refusal`: a part of an earlier response.
    refusal: Option<String>,
    /// For `input_image`: a PNG, JPEG, GIF, WebP or BMP file as a `data:` URI. `https:` URLs are only fetched from hosts in `IMAGE_URL_HOSTS`.
    #[schema(value_type = Option<String>)]
    image_url: Option<EncodedImage>,
    /// For `input_image`. Has no effect: the size of images that models get is set by `VISION_MAX_SIDE`.
    #[schema(value_type = Option<ImageDetail>)]
    detail: Option<Word<ImageDetail>>,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "annotations")]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    _annotations: Ignored,
    /// Part of an earlier response, without effect.
    #[serde(default, rename = "logprobs")]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    _logprobs: Ignored,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputPartType {
    InputText,
    OutputText,
    InputImage,
    Refusal,
    ReasoningText,
    SummaryText,
}

impl TextOrList<InputPart> {
    pub(super) fn images(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::List(parts) => parts.iter().filter(|Object(part)| part.image_url.is_some()).count(),
        }
    }

    /// Whether it has an image with a `detail`.
    pub(super) fn has_detail(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::List(parts) => parts.iter().any(|Object(part)| part.detail.is_some()),
        }
    }

    /// Refuses parts that have not what their type says. `pointer` is where the content stands.
    pub(super) fn check(&self, pointer: &str, fields: &mut Fields) {
        let Self::List(parts) = self else { return };
        if parts.is_empty() {
            fields.refuse(pointer, "must have at least one part");
        }
        for (index, Object(part)) in parts.iter().enumerate() {
            if fields.is_full() {
                return;
            }
            let needed = match part.r#type.0 {
                InputPartType::InputImage => "image_url",
                InputPartType::Refusal => "refusal",
                _ => "text",
            };
            let given = [
                ("text", part.text.is_some()),
                ("refusal", part.refusal.is_some()),
                ("image_url", part.image_url.is_some()),
            ];
            for (name, is_given) in given {
                match (name == needed, is_given) {
                    (true, false) => fields
                        .refuse(format!("{pointer}/{index}/{name}"), "is required in a part of this type"),
                    (false, true) => fields
                        .refuse(format!("{pointer}/{index}/{name}"), "is not allowed in a part of this type"),
                    _ => {}
                }
            }
        }
    }

    /// Texts and images in their order, each image with its place.
    pub(super) fn into_parts(self, pointer: &str) -> Vec<ReadPart> {
        let parts = match self {
            Self::Text(text) => return vec![ReadPart::Text(text)],
            Self::List(parts) => parts,
        };
        let mut read = Vec::with_capacity(parts.len());
        for (index, Object(part)) in parts.into_iter().enumerate() {
            read.extend(part.text.or(part.refusal).map(ReadPart::Text));
            let place = || format!("{pointer}/{index}/image_url");
            read.extend(part.image_url.map(|image| ReadPart::Image(place(), image)));
        }
        read
    }
}

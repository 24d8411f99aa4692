//! Images in messages.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    http::extract::{fields::Fields, object::Word},
    images::EncodedImage,
};

/// A PNG, JPEG, GIF, WebP or BMP file, in base64 or at a URL.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnthropicImage {
    #[schema(value_type = ImageSourceType)]
    r#type: Word<ImageSourceType>,
    /// For base64. Must be that of an image; the format is recognised by the content.
    media_type: Option<String>,
    /// For base64.
    #[schema(value_type = Option<String>)]
    data: Option<EncodedImage>,
    /// For a URL. Only hosts in `IMAGE_URL_HOSTS` are asked.
    #[schema(value_type = Option<String>)]
    url: Option<EncodedImage>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ImageSourceType {
    Base64,
    Url,
}

impl AnthropicImage {
    pub(super) fn check(&self, pointer: &str, fields: &mut Fields) {
        let place = |name: &str| format!("{pointer}/{name}");
        let is_given = [
            ("media_type", self.media_type.is_some()),
            ("data", self.data.is_some()),
            ("url", self.url.is_some()),
        ];
        let wanted: &[&str] = match self.r#type.0 {
            ImageSourceType::Base64 => &["media_type", "data"],
            ImageSourceType::Url => &["url"],
        };
        for (name, is_given) in is_given {
            match (wanted.contains(&name), is_given) {
                (true, false) => fields.refuse(place(name), "is required in a source of this type"),
                (false, true) => fields.refuse(place(name), "is not allowed in a source of this type"),
                _ => {}
            }
        }
        if self.media_type.as_ref().is_some_and(|media_type| !media_type.starts_with("image/")) {
            let detail = "must be that of an image: image/png, image/jpeg, image/gif or image/webp";
            fields.refuse(place("media_type"), detail);
        }
    }

    /// Returns the image with its place in its source.
    pub(super) fn into_image(self) -> Option<(&'static str, EncodedImage)> {
        self.data.map(|data| ("data", data)).or(self.url.map(|url| ("url", url)))
    }
}

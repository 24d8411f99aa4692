//! Content of a message: a text, or a list of parts, texts and images in one order, as OpenAI's clients
//! send them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, OneOfBuilder, Ref, RefOr, Schema, schema::Type},
};

use super::schemas;
use crate::{
    http::extract::{
        fields::Fields,
        images::ReadPart,
        object::{Object, Word},
    },
    images::EncodedImage,
};

pub(in crate::http) enum Content {
    Text(String),
    Parts(Vec<Object<Part>>),
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Part {
    #[schema(value_type = PartType)]
    r#type: Word<PartType>,
    /// For a text.
    text: Option<String>,
    /// For an image: base64 of a PNG, JPEG, GIF, WebP or BMP file, with or without a `data:` URI prefix.
    /// `https:` URLs are only fetched from hosts in `IMAGE_URL_HOSTS`.
    image_url: Option<ImageUrl>,
    /// For an image. Ignored: the size of images that models get is set by `VISION_MAX_SIDE`.
    #[schema(value_type = Option<ImageDetail>)]
    detail: Option<Word<ImageDetail>>,
}

/// Resolution at which OpenAI's models look at an image.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum ImageDetail {
    Auto,
    Low,
    High,
    Original,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PartType {
    Text,
    InputText,
    OutputText,
    ImageUrl,
    InputImage,
}

/// `{"url": "data:…"}`, or what stands in it alone.
struct ImageUrl {
    image: EncodedImage,
    /// Place of the image in its part.
    place: &'static str,
    has_detail: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ImageUrlBody {
    #[schema(value_type = String)]
    url: EncodedImage,
    /// Accepted for compatibility, and ignored.
    #[schema(value_type = Option<ImageDetail>)]
    detail: Option<Word<ImageDetail>>,
}

impl Content {
    pub(in crate::http) fn images(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Parts(parts) => parts.iter().filter(|Object(part)| part.image_url.is_some()).count(),
        }
    }

    /// Whether it has an image with a `detail`.
    pub(in crate::http) fn has_detail(&self) -> bool {
        let Self::Parts(parts) = self else { return false };
        let in_url = |part: &Part| part.image_url.as_ref().is_some_and(|image| image.has_detail);
        parts.iter().any(|Object(part)| part.detail.is_some() || in_url(part))
    }

    /// Refuses parts that have not what their type says. `pointer` is where the content stands.
    pub(in crate::http) fn check(&self, pointer: &str, fields: &mut Fields) {
        let Self::Parts(parts) = self else { return };
        if parts.is_empty() {
            fields.refuse(pointer, "must have at least one part");
        }
        for (index, Object(Part { r#type, text, image_url, .. })) in parts.iter().enumerate() {
            if fields.is_full() {
                return;
            }
            let mut only = |wanted: (&str, bool), other: (&str, bool)| {
                let place = |name: &str| format!("{pointer}/{index}/{name}");
                if !wanted.1 {
                    fields.refuse(place(wanted.0), "is required in a part of this type");
                }
                if other.1 {
                    fields.refuse(place(other.0), "is not allowed in a part of this type");
                }
            };
            let (text, image) = (("text", text.is_some()), ("image_url", image_url.is_some()));
            match r#type.0 {
                PartType::Text | PartType::InputText | PartType::OutputText => only(text, image),
                PartType::ImageUrl | PartType::InputImage => only(image, text),
            }
        }
    }

    /// Texts and images in their order, each image with its place. Texts that follow each other are one, each on lines
    /// of its own.
    pub(in crate::http) fn into_parts(self, pointer: &str) -> Vec<ReadPart> {
        let parts = match self {
            Self::Text(text) => return vec![ReadPart::Text(text)],
            Self::Parts(parts) => parts,
        };
        let mut read = Vec::with_capacity(parts.len());
        for (index, Object(Part { text, image_url, .. })) in parts.into_iter().enumerate() {
            match (read.last_mut(), text) {
                (Some(ReadPart::Text(last)), Some(text)) => {
                    last.push('\n');
                    last.push_str(&text);
                }
                (_, text) => read.extend(text.map(ReadPart::Text)),
            }
            let image =
                |ImageUrl { image, place, .. }| ReadPart::Image(format!("{pointer}/{index}/{place}"), image);
            read.extend(image_url.map(image));
        }
        read
    }
}

impl PartialSchema for Content {
    fn schema() -> RefOr<Schema> {
        let parts = ArrayBuilder::new().items(Ref::from_schema_name(Part::name())).min_items(Some(1));
        schemas::either([schemas::object(Type::String), parts.build().into()])
    }
}

impl ToSchema for Content {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Part::name().into(), Part::schema()));
        Part::schemas(schemas);
    }
}

impl PartialSchema for ImageUrl {
    fn schema() -> RefOr<Schema> {
        let object = Ref::from_schema_name(ImageUrlBody::name());
        let one_of = OneOfBuilder::new().item(schemas::object(Type::String)).item(object);
        Schema::OneOf(one_of.build()).into()
    }
}

impl ToSchema for ImageUrl {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ImageUrlBody::name().into(), ImageUrlBody::schema()));
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

impl<'de> Deserialize<'de> for ImageUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImageUrlVisitor;
        impl<'de> Visitor<'de> for ImageUrlVisitor {
            type Value = ImageUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with a url")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ImageUrl, E> {
                let image = EncodedImage::from_base64(text);
                Ok(ImageUrl { image, place: "image_url", has_detail: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<ImageUrl, A::Error> {
                let body: ImageUrlBody = Deserialize::deserialize(MapAccessDeserializer::new(object))?;
                let has_detail = body.detail.is_some();
                Ok(ImageUrl { image: body.url, place: "image_url/url", has_detail })
            }
        }
        deserializer.deserialize_any(ImageUrlVisitor)
    }
}

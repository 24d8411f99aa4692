//! The images of a request, each with its place in it.

use super::fields::Fields;
use crate::{
    app::App,
    error,
    images::{EncodedImage, Image},
    types::Part,
};

/// More than any model's context holds; each is decoded, however small it is.
const MAX_IMAGES: usize = 64;

pub(in crate::http) fn check_images(images: usize, pointer: &str, fields: &mut Fields) {
    if images > MAX_IMAGES {
        fields.refuse(pointer, format!("may have at most {MAX_IMAGES} images"));
    }
}

/// The images of a list, each with its place.
pub(in crate::http) fn numbered(
    pointer: &str,
    images: Option<Vec<EncodedImage>>,
) -> Vec<(String, EncodedImage)> {
    let images = images.into_iter().flatten().enumerate();
    images.map(|(index, image)| (format!("{pointer}/{index}"), image)).collect()
}

/// A part of a message's content, its image still encoded and with its place in the request.
pub(in crate::http) enum ReadPart {
    Text(String),
    Image(String, EncodedImage),
}

/// Decodes the images among the parts, one after the other.
pub(in crate::http) async fn open_parts(parts: Vec<ReadPart>, app: &App) -> error::Result<Vec<Part>> {
    let mut opened = Vec::with_capacity(parts.len());
    for part in parts {
        opened.push(match part {
            ReadPart::Text(text) => Part::Text(text),
            ReadPart::Image(pointer, image) => Part::Image(app.open_image(image, &pointer).await?),
        });
    }
    Ok(opened)
}

/// One after the other, so that one request takes no more than its share of the decoders.
pub(in crate::http) async fn open(
    images: Vec<(String, EncodedImage)>,
    app: &App,
) -> error::Result<Vec<Image>> {
    let mut opened = Vec::with_capacity(images.len());
    for (pointer, image) in images {
        opened.push(app.open_image(image, &pointer).await?);
    }
    Ok(opened)
}

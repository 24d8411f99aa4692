//! A document as callers send it: as a form's file, or as base64 in JSON.

use std::{fmt, sync::Arc};

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

use super::{
    Json, Room,
    multipart::{DocumentForm, Form, is_form},
};
use crate::{
    error::{Error, Result},
    http::{HttpState, middleware::errors::Failure},
    images::{EncodedImage, RefusalReason},
};

/// A document, with the room in memory that it takes.
pub(in crate::http) struct Document {
    pub(in crate::http) bytes: Bytes,
    pub(in crate::http) name: Option<String>,
    /// Where it stands in the request.
    pub(in crate::http) pointer: &'static str,
    pub(in crate::http) room: Room,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DocumentBody {
    /// Base64 of a file, with or without a `data:` URI prefix.
    #[schema(value_type = String)]
    content_base64: EncodedDocument,
    /// Name of the file. Its ending tells apart formats that the content leaves open.
    #[schema(example = "report.pdf")]
    name: Option<String>,
}

impl FromRequest<Arc<HttpState>> for Document {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> std::result::Result<Self, Failure> {
        if is_form(request.headers()) {
            let Form { file, file_name, room, .. } =
                Form::<DocumentForm>::from_request(request, state).await?;
            return Ok(Self { bytes: file.into(), name: file_name, pointer: "/file", room });
        }
        let Json(body, room) = <Json<DocumentBody> as FromRequest<_>>::from_request(request, state).await?;
        let pointer = "/content_base64";
        let bytes = body.content_base64.0.map_err(|detail| Error::field(pointer, detail))?;
        Ok(Self { bytes, name: body.name, pointer, room })
    }
}

/// Base64, decoded while the JSON is parsed, as images are.
struct EncodedDocument(Result<Bytes, &'static str>);

impl<'de> Deserialize<'de> for EncodedDocument {
    /// Accepts any text: its error is not one of a wrong type.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = EncodedDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<EncodedDocument, E> {
                let decoded = EncodedImage::from_base64(text).into_bytes();
                Ok(EncodedDocument(decoded.map_err(|refusal| match refusal.reason {
                    RefusalReason::Url => "must be the document itself as base64; URLs are not fetched",
                    _ => "is not valid base64",
                })))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

//! A form as an extractor. Its file stays in memory: nothing is written to disk.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use futures_util::{Stream, stream};

use super::{
    Room,
    body::Incoming,
    form::{FileSize, FormFields, Parsed, TextFields, boundary, read},
};
use crate::{
    error::{Error, Kind, Result},
    http::{HttpState, middleware::errors::Failure},
    images::Refusal,
};

/// The field `file` and the texts of the others.
pub(in crate::http) struct Form<K> {
    pub(in crate::http) file: Vec<u8>,
    /// Name that the form gives the file.
    pub(in crate::http) file_name: Option<String>,
    texts: TextFields,
    /// For as long as the file is in memory.
    pub(in crate::http) room: Room,
    kind: PhantomData<K>,
}

/// Kind of a form, by the file in it.
pub(in crate::http) trait FormKind: Send {
    const FIELDS: FormFields;

    /// Bytes that the file may have.
    fn limit(state: &HttpState) -> usize;

    /// Error for a larger file.
    fn too_large(state: &HttpState) -> Error;
}

/// Form with an image, and with what is asked about it.
pub(in crate::http) struct ImageForm;

/// Form with a document.
pub(in crate::http) struct DocumentForm;

/// Form with a document, and with how it is taken in.
pub(in crate::http) struct IngestForm;

impl FormKind for ImageForm {
    const FIELDS: FormFields =
        FormFields { texts: &["prompt", "model", "temperature", "max_tokens", "stream"], file: "image" };

    fn limit(state: &HttpState) -> usize {
        state.app.image_limits().max_bytes
    }

    fn too_large(state: &HttpState) -> Error {
        let refusal = Refusal::bytes(state.app.image_limits());
        state.app.count_refused_image(refusal.reason);
        refusal.at("/file")
    }
}

impl FormKind for DocumentForm {
    const FIELDS: FormFields = FormFields { texts: &[], file: "document" };

    fn limit(state: &HttpState) -> usize {
        state.max_body
    }

    fn too_large(state: &HttpState) -> Error {
        let megabytes = state.max_body / (1024 * 1024);
        Error::field("/file", format!("is larger than {megabytes} MB")).of_kind(Kind::TooLarge)
    }
}

impl FormKind for IngestForm {
    const FIELDS: FormFields = FormFields {
        texts: &[
            "collection",
            "metadata",
            "document_id",
            "title",
            "chunk_size",
            "chunk_overlap",
            "chunking",
            "chunk_unit",
            "stream",
        ],
        ..DocumentForm::FIELDS
    };

    fn limit(state: &HttpState) -> usize {
        DocumentForm::limit(state)
    }

    fn too_large(state: &HttpState) -> Error {
        DocumentForm::too_large(state)
    }
}

impl<K> Form<K> {
    /// A field's text; none when it was not sent.
    pub(in crate::http) fn take(&mut self, name: &str) -> Option<String> {
        self.texts.remove(name)
    }
}

/// Whether a request has a form as its body.
pub(in crate::http) fn is_form(headers: &HeaderMap) -> bool {
    boundary_of(headers).is_some()
}

fn boundary_of(headers: &HeaderMap) -> Option<String> {
    boundary(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

impl<K: FormKind> FromRequest<Arc<HttpState>> for Form<K> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> std::result::Result<Self, Failure> {
        let boundary = boundary_of(request.headers()).ok_or_else(|| {
            Error::new(Kind::UnsupportedMediaType, "Send a form with a file, as multipart/form-data.")
        })?;
        let mut incoming = Incoming::begin(request, state).await?;
        let too_large = || K::too_large(state);
        let size = FileSize { expected: incoming.announced(), limit: K::limit(state), too_large };
        let parsed = read(pieces(&mut incoming), boundary, K::FIELDS, size).await?;
        let Parsed { file, file_name, texts } = parsed;
        Ok(Self { file, file_name, texts, room: incoming.into_room(), kind: PhantomData })
    }
}

/// The body as multer takes it.
fn pieces(incoming: &mut Incoming) -> impl Stream<Item = Result<Bytes>> + Send + '_ {
    stream::unfold(incoming, async |incoming| {
        incoming.next().await.transpose().map(|piece| (piece, incoming))
    })
}

//! A form as an extractor. Its file stays in memory: nothing is written to disk.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use futures_util::{Stream, stream};

use super::{
    Room,
    body::Incoming,
    form::{FileSize, TextFields, boundary, read},
};
use crate::{
    error::{Error, Kind, Result},
    http::{HttpState, middleware::errors::Failure},
    images::Refusal,
};

/// The field `file` and the texts of the others.
pub(in crate::http) struct Form {
    pub(in crate::http) file: Vec<u8>,
    texts: TextFields,
    /// For as long as the file is in memory.
    pub(in crate::http) room: Room,
}

impl Form {
    /// A field's text; none when it was not sent.
    pub(in crate::http) fn take(&mut self, name: &str) -> Option<String> {
        self.texts.remove(name)
    }
}

impl FromRequest<Arc<HttpState>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<HttpState>) -> std::result::Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let boundary = content_type.and_then(|value| boundary(value.to_str().ok()?)).ok_or_else(|| {
            Error::new(Kind::UnsupportedMediaType, "Send a form with a file, as multipart/form-data.")
        })?;
        let mut incoming = Incoming::begin(request, state).await?;
        let limits = state.app.image_limits();
        let too_large = || {
            let refusal = Refusal::bytes(limits);
            state.app.count_refused_image(refusal.reason);
            refusal.at("/file")
        };
        let size = FileSize { expected: incoming.announced(), limit: limits.max_bytes, too_large };
        let (file, texts) = read(pieces(&mut incoming), boundary, size).await?;
        Ok(Self { file, texts, room: incoming.into_room() })
    }
}

/// The body as multer takes it.
fn pieces(incoming: &mut Incoming) -> impl Stream<Item = Result<Bytes>> + Send + '_ {
    stream::unfold(incoming, async |incoming| {
        incoming.next().await.transpose().map(|piece| (piece, incoming))
    })
}

//! Forms with one file in them (RFC 7578), read as they come in. Nothing is written to disk, and what
//! a form says of its file, a name and a type, is not believed.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use futures_util::{Stream, stream};
use multer::{Field, Multipart};

use super::{
    Edge,
    body::{Incoming, Room},
    error::Failure,
    fields::Fields,
};
use crate::{
    error::{Error, Kind, Result},
    types::Refusal,
};

/// The fields that are read as text. All others but the file are passed over, whatever is in them.
const TEXTS: [&str; 3] = ["prompt", "model", "stream"];
/// A form has a handful of fields; more is somebody trying something.
const MAX_FIELDS: usize = 16;
/// Bytes of a field that is no file: longer than any prompt that a vision model takes.
const MAX_TEXT: usize = 64 * 1024;

/// The field `file` and those of `TEXTS`.
pub(super) struct Form {
    pub(super) file: Vec<u8>,
    texts: HashMap<String, String>,
    /// For as long as the file is in memory.
    pub(super) room: Room,
}

impl Form {
    /// A field's text; none when it was not sent.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.texts.remove(name)
    }
}

impl FromRequest<Arc<Edge>> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> std::result::Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let boundary =
            content_type.and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok()).ok_or_else(
                || Error::new(Kind::UnsupportedMediaType, "Send a form with a file, as multipart/form-data."),
            )?;
        let mut incoming = Incoming::begin(request, edge).await?;
        let announced = incoming.announced();
        let read = read(pieces(&mut incoming), boundary, announced, edge).await;
        let (file, texts) = read?;
        Ok(Self { file, texts, room: incoming.into_room() })
    }
}

/// The body as multer takes it.
fn pieces(incoming: &mut Incoming) -> impl Stream<Item = Result<Bytes>> + Send + '_ {
    stream::unfold(incoming, async |incoming| {
        incoming.next().await.transpose().map(|piece| (piece, incoming))
    })
}

async fn read(
    pieces: impl Stream<Item = Result<Bytes>> + Send,
    boundary: String,
    announced: usize,
    edge: &Edge,
) -> Result<(Vec<u8>, HashMap<String, String>)> {
    let mut form = Multipart::new(Box::pin(pieces), boundary);
    let (mut file, mut texts) = (None, HashMap::new());
    let mut problems = Fields::default();
    let mut count = 0;
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        count += 1;
        if count > MAX_FIELDS {
            problems.refuse("", format!("may have at most {MAX_FIELDS} fields"));
            break;
        }
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" && !TEXTS.contains(&name.as_str()) {
            // Dropped here, it is read to its end below without being kept.
            continue;
        }
        let known = if name == "file" { file.is_some() } else { texts.contains_key(&name) };
        if known {
            problems.refuse(format!("/{name}"), "may be sent only once");
            break;
        }
        if name == "file" {
            let limits = edge.app.pictures.limits();
            let read = bytes(field, announced, limits.max_bytes, || {
                let refusal = Refusal::bytes(limits);
                edge.app.monitoring.metrics.vision.refused(refusal.reason);
                refusal.at("/file")
            });
            file = Some(read.await?);
        } else {
            texts.insert(name.clone(), text(field, &name).await?);
        }
    }
    problems.finish()?;
    match file {
        Some(file) => Ok((file, texts)),
        None => Err(Error::field("/file", "is missing: send the image as a field of this name")),
    }
}

async fn text(field: Field<'_>, name: &str) -> Result<String> {
    let too_long =
        || Error::new(Kind::TooLarge, format!("The field {name} is longer than {} kB.", MAX_TEXT / 1024));
    let bytes = bytes(field, 0, MAX_TEXT, too_long).await?;
    String::from_utf8(bytes).map_err(|_| Error::field(format!("/{name}"), "must be text in UTF-8"))
}

async fn bytes(
    mut field: Field<'_>,
    hint: usize,
    most: usize,
    too_large: impl Fn() -> Error,
) -> Result<Vec<u8>> {
    // A file is most of its form; what is reserved and not used costs nothing.
    let mut whole = Vec::with_capacity(hint.min(most));
    while let Some(piece) = field.chunk().await.map_err(malformed)? {
        if whole.len() + piece.len() > most {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// What went wrong below the form is our own error already.
fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => Error::new(Kind::Malformed, "The form broke off.").because(source),
        },
        error => Error::new(
            Kind::Malformed,
            "The form cannot be read; send multipart/form-data as RFC 7578 has it, whole.",
        )
        .because(error),
    }
}

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

use super::{Room, body::Incoming, fields::Fields, nearest};
use crate::{
    error::{Error, Kind, Result},
    http::{HttpState, middleware::errors::Failure},
    images::Refusal,
};

/// The fields there are, all but the file read as text.
const FIELDS: [&str; 6] = ["file", "prompt", "model", "temperature", "max_tokens", "stream"];
/// A form has a handful of fields; more is somebody trying something.
const MAX_FIELDS: usize = 16;
/// Bytes of a field that is no file: longer than any prompt that a vision model takes.
const MAX_TEXT: usize = 64 * 1024;

/// The field `file` and the texts of the others.
pub(in crate::http) struct Form {
    pub(in crate::http) file: Vec<u8>,
    texts: TextFields,
    /// For as long as the file is in memory.
    pub(in crate::http) room: Room,
}

type TextFields = HashMap<&'static str, String>;

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
        let boundary =
            content_type.and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok()).ok_or_else(
                || Error::new(Kind::UnsupportedMediaType, "Send a form with a file, as multipart/form-data."),
            )?;
        let mut incoming = Incoming::begin(request, state).await?;
        let announced = incoming.announced();
        let read = read(pieces(&mut incoming), boundary, announced, state).await;
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
    state: &HttpState,
) -> Result<(Vec<u8>, TextFields)> {
    let mut form = Multipart::new(Box::pin(pieces), boundary);
    let (mut file, mut texts, mut sent) = (None, HashMap::new(), Vec::new());
    let mut problems = Fields::default();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.index() >= MAX_FIELDS {
            return Err(Error::field("", format!("The form may have at most {MAX_FIELDS} fields")));
        }
        // A field that is dropped is read to its end without being kept.
        let Some(&name) = FIELDS.iter().find(|name| field.name() == Some(**name)) else {
            let name = field.name().unwrap_or_default();
            problems.unknown(name, nearest::unknown(name, &FIELDS, "field"));
            continue;
        };
        let before = sent.iter().filter(|other| **other == name).count();
        sent.push(name);
        if before == 1 {
            problems.refuse(format!("/{name}"), "may be sent only once");
        }
        if before > 0 {
            continue;
        }
        if name == "file" {
            let is_named = field.file_name() != Some("");
            let limits = state.app.image_limits();
            let read = bytes(field, announced, limits.max_bytes, || {
                let refusal = Refusal::bytes(limits);
                state.app.count_refused_image(refusal.reason);
                refusal.at("/file")
            });
            // Without a name and content it is a browser's way to say that no file was chosen.
            file = Some(read.await?).filter(|bytes| is_named || !bytes.is_empty());
        } else if let Some(text) = text(field, name).await? {
            // So is an empty field of one that was left out.
            texts.extend((!text.is_empty()).then_some((name, text)));
        } else {
            problems.refuse(format!("/{name}"), "must be valid UTF-8");
        }
    }
    let file = file.unwrap_or_else(|| {
        problems.refuse("/file", "is missing: send the image as a field of this name");
        Vec::new()
    });
    problems.finish()?;
    Ok((file, texts))
}

/// None when it is no text.
async fn text(field: Field<'_>, name: &str) -> Result<Option<String>> {
    let too_long = || {
        let detail = format!("is longer than {} kB", MAX_TEXT / 1024);
        Error::field(format!("/{name}"), detail).of_kind(Kind::TooLarge)
    };
    let bytes = bytes(field, 0, MAX_TEXT, too_long).await?;
    Ok(String::from_utf8(bytes).ok())
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

/// Maps an error of the form; one from below it is our own already.
fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => Error::new(Kind::Malformed, "The form ended before it was complete; send it again.").with_source(source),
        },
        error => Error::new(
            Kind::Malformed,
            "The form is damaged or cut off; send it whole, as multipart/form-data (`curl -F file=@image.png`).",
        )
        .with_source(error),
    }
}

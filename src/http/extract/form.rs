//! Parser of forms with one file in them (RFC 7578), as they arrive. The type that a form gives its file is
//! ignored.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::Stream;
use multer::{Field, Multipart};

use super::{fields::Fields, nearest};
use crate::error::{Error, Kind, Result};

/// Limit on the number of fields: a form has a handful.
const MAX_FIELDS: usize = 16;
/// Bytes of a field that is no file: longer than any prompt that a vision model takes.
const MAX_TEXT: usize = 64 * 1024;

pub(in crate::http) type TextFields = HashMap<&'static str, String>;

/// Fields that a form may have.
#[derive(Clone, Copy)]
pub(in crate::http) struct FormFields {
    /// Names besides `file`; these are read as text.
    pub(in crate::http) texts: &'static [&'static str],
    /// Noun for what the file is.
    pub(in crate::http) file: &'static str,
}

/// Size of a form's file.
pub(in crate::http) struct FileSize<F> {
    /// Bytes to reserve.
    pub(in crate::http) expected: usize,
    pub(in crate::http) limit: usize,
    /// Error for a file over the limit.
    pub(in crate::http) too_large: F,
}

/// A form that has been read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Parsed {
    pub(in crate::http) file: Vec<u8>,
    /// Name that the form gives the file.
    pub(in crate::http) file_name: Option<String>,
    pub(in crate::http) texts: TextFields,
}

/// Boundary between a form's fields; none if the content type is not that of a form.
pub(in crate::http) fn boundary(content_type: &str) -> Option<String> {
    multer::parse_boundary(content_type).ok()
}

/// Reads the file and the other fields.
///
/// # Errors
/// `Malformed` if the form is damaged, `TooLarge` and `Invalid` with the field.
pub(in crate::http) async fn read(
    pieces: impl Stream<Item = Result<Bytes>> + Send,
    boundary: String,
    fields: FormFields,
    size: FileSize<impl Fn() -> Error>,
) -> Result<Parsed> {
    let mut form = Multipart::new(Box::pin(pieces), boundary);
    let known: Vec<&'static str> = ["file"].iter().chain(fields.texts).copied().collect();
    let (mut file, mut parsed, mut sent) = (None, Parsed::default(), Vec::new());
    let mut problems = Fields::default();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.index() >= MAX_FIELDS {
            return Err(Error::field("", format!("The form may have at most {MAX_FIELDS} fields")));
        }
        // A field that is dropped is read to its end without being kept.
        let Some(&name) = known.iter().find(|name| field.name() == Some(**name)) else {
            let name = field.name().unwrap_or_default();
            problems.unknown(name, nearest::unknown(name, &known, "field"));
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
            parsed.file_name = field.file_name().filter(|name| !name.is_empty()).map(str::to_owned);
            let read = bytes(field, size.expected, size.limit, &size.too_large).await?;
            // Without a name and content it is a browser's way to say that no file was chosen.
            file = Some(read).filter(|bytes| is_named || !bytes.is_empty());
        } else if let Some(text) = text(field, name).await? {
            // So is an empty field of one that was left out.
            parsed.texts.extend((!text.is_empty()).then_some((name, text)));
        } else {
            problems.refuse(format!("/{name}"), "must be valid UTF-8");
        }
    }
    if file.is_none() {
        let noun = fields.file;
        problems.refuse("/file", format!("is missing: send the {noun} as a field of this name"));
    }
    problems.finish()?;
    parsed.file = file.unwrap_or_default();
    Ok(parsed)
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
            Err(source) => {
                Error::new(Kind::Malformed, "The form ended before it was complete; send it again.")
                    .with_source(source)
            }
        },
        error => Error::new(
            Kind::Malformed,
            "The form is damaged or cut off; send it whole, as multipart/form-data (`curl -F file=@NAME`).",
        )
        .with_source(error),
    }
}

//! Callers' forms: the same however the network cuts them.

mod extract;

use bytes::Bytes;
use futures_util::{FutureExt, stream};

use self::extract::form::{FileSize, FormFields, Parsed, read};
use crate::{
    error::{Error, Kind},
    pieces::pieces,
};

const BOUNDARY: &str = "x";
/// Small, so that it is exceeded.
const MAX_FILE: usize = 2048;

type Form = Result<Parsed, (Kind, String)>;

pub fn multipart(input: &[u8]) {
    let (pieces, whole) = pieces(input);
    let form = form(&[whole]);
    assert_eq!(form, self::form(&pieces));
    let Ok(Parsed { file, texts, .. }) = form else { return };
    assert!(file.len() <= MAX_FILE && texts.values().all(|text| !text.is_empty()));
    assert!(file.len() + texts.values().map(String::len).sum::<usize>() <= whole.len());
    let fields = texts.iter().map(|(name, text)| (*name, text.as_bytes())).chain([("file", &*file)]);
    let mut written = Vec::new();
    for (name, value) in fields {
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        written.extend_from_slice(&[head.as_bytes(), value, b"\r\n"].concat());
    }
    written.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    // An empty file without a name is none: a browser's form in which no file was chosen.
    if !file.is_empty() {
        assert_eq!(self::form(&[&written]), Ok(Parsed { file, file_name: None, texts }));
    }
}

fn form(pieces: &[&[u8]]) -> Form {
    let pieces = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let too_large = || Error::field("/file", "is too large").of_kind(Kind::TooLarge);
    let size = FileSize { expected: 0, limit: MAX_FILE, too_large };
    let fields = FormFields { texts: &["prompt", "model"], file: "image" };
    let read = read(stream::iter(pieces.collect::<Vec<_>>()), BOUNDARY.to_owned(), fields, size);
    let form = read.now_or_never().expect("all of it has arrived");
    form.map_err(|error| (error.kind(), error.message().to_owned()))
}

//! An image as JSON carries it: base64, standard or URL-safe, with or without padding, a `data:` URI
//! around it, and whitespace in it. It is decoded while the JSON is parsed, straight from the body, so
//! that the text of a large image never exists a second time.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};

use super::Refusal;

/// Image as a caller sent it, not decoded yet.
#[derive(Debug)]
pub struct EncodedImage(Source);

#[derive(Debug)]
enum Source {
    File(Result<Bytes, Refusal>),
    /// An `https:` or `http:` URL of the file.
    Url(String),
}

/// Maximum length of a URL, as most servers accept it.
const MAX_URL_BYTES: usize = 8192;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// Characters of base64 with line breaks that are decoded at a time: a multiple of 4.
const CHUNK_CHARS: usize = 4096;

impl EncodedImage {
    /// Reads base64, a data URI or a URL.
    pub fn from_base64(text: &str) -> Self {
        let text = text.trim_ascii();
        let is_url = scheme(text).is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
        });
        Self(match is_url && text.len() <= MAX_URL_BYTES {
            true => Source::Url(text.to_owned()),
            false => Source::File(decode(text).map(Bytes::from)),
        })
    }

    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Source::File(Ok(bytes.into())))
    }

    /// URL of the file if it has to be fetched.
    pub fn url(&self) -> Option<&str> {
        match &self.0 {
            Source::Url(url) => Some(url),
            Source::File(_) => None,
        }
    }

    /// Decodes the bytes of the file.
    ///
    /// # Errors
    /// Refuses an address in place of an image, and text that is not base64.
    pub fn into_bytes(self) -> Result<Bytes, Refusal> {
        match self.0 {
            Source::File(bytes) => bytes,
            Source::Url(_) => Err(Refusal::url()),
        }
    }
}

impl<'de> Deserialize<'de> for EncodedImage {
    /// Accepts any text: it is checked when the image is opened, so that the error is not one of a wrong type.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = EncodedImage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<EncodedImage, E> {
                Ok(EncodedImage::from_base64(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let payload = match scheme(text) {
        Some("data") => text.split_once(',').ok_or_else(Refusal::data_uri)?.1,
        Some(_) => return Err(Refusal::url()),
        None => text,
    };
    let payload = payload.as_bytes();
    let engine = if payload.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    if payload.iter().any(u8::is_ascii_whitespace) {
        return decode_broken_up(engine, payload);
    }
    engine.decode(payload).map_err(Refusal::base64)
}

/// URI scheme before the first colon, which base64 never has; lower case when it is `data`.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    Some(if scheme.eq_ignore_ascii_case("data") { "data" } else { scheme })
}

/// Decodes piece by piece, so that whitespace is removed without a copy of the whole text.
fn decode_broken_up(engine: &GeneralPurpose, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut decoded = Vec::with_capacity(payload.len() / 4 * 3);
    let mut piece = Vec::with_capacity(CHUNK_CHARS);
    for byte in payload.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        // Text after the end would be decoded as another text.
        if piece.len() == CHUNK_CHARS {
            if piece.contains(&b'=') {
                return Err(Refusal::base64("there is text after its end"));
            }
            engine.decode_vec(&piece, &mut decoded).map_err(Refusal::base64)?;
            piece.clear();
        }
        piece.push(*byte);
    }
    engine.decode_vec(&piece, &mut decoded).map_err(Refusal::base64)?;
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::images::RefusalReason;

    fn bytes(json: &str) -> Result<Bytes, RefusalReason> {
        let encoded: EncodedImage = serde_json::from_str(json).expect("a JSON string");
        encoded.into_bytes().map_err(|refusal| refusal.reason)
    }

    #[test]
    fn every_usual_spelling_of_base64_is_read() {
        for text in [
            "+/+/AA==",
            "+/+/AA",
            "+/+/AB==",
            "-_-_AA==",
            "-_-_AA",
            " +/+/AA==\\n",
            "+/+/\\r\\nAA\\t==",
            "\\u002b\\/+\\/AA==",
            "data:image/png;base64,+/+/AA==",
            "DATA:;base64,+/+/AA==",
            "data:text/html;base64,+/+/AA==",
            "data:image/png;charset=x;base64, +/+/AA==",
            "data:,+/+/AA==",
        ] {
            let read = bytes(&format!("\"{text}\""));
            assert_eq!(read.as_deref(), Ok(&[0xfb, 0xff, 0xbf, 0][..]), "{text}");
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        use RefusalReason::{Base64, Url};
        for (text, reason) in [
            ("not base64!", Base64),
            ("A", Base64),
            ("AA=A", Base64),
            ("AAAA====", Base64),
            ("+/-_", Base64),
            ("é", Base64),
            ("data:image/png;base64,%2B", Base64),
            ("data:", Base64),
            ("data:x", Base64),
            ("http://example.com/a.png", Url),
            ("HTTPS://example.com", Url),
            ("file:///etc/passwd", Url),
            ("http://169.254.169.254/latest", Url),
            ("C:\\\\picture.png", Url),
            ("blob:x", Url),
        ] {
            assert_eq!(bytes(&format!("\"{text}\"")), Err(reason), "{text}");
        }
        let long = "AAAA".repeat(CHUNK_CHARS / 4 - 1) + "AA==";
        assert_eq!(bytes(&format!("\"{long} AAAA\"")), Err(Base64), "text after the end");
        assert!(serde_json::from_str::<EncodedImage>("5").is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_what_is_decoded(
            content in prop::collection::vec(any::<u8>(), 0..12_000),
            url_safe: bool,
            padding: bool,
            line in prop::option::of(1_usize..100),
        ) {
            let engine = if url_safe { &URL_SAFE } else { &STANDARD };
            let mut text = engine.encode(&content);
            if !padding {
                text.truncate(text.trim_end_matches('=').len());
            }
            if let Some(line) = line {
                let lines: Vec<&[u8]> = text.as_bytes().chunks(line).collect();
                text = String::from_utf8(lines.join(&b'\n')).expect("ASCII");
            }
            let decoded = EncodedImage::from_base64(&text).into_bytes().expect("base64");
            prop_assert_eq!(decoded, content);
        }
    }
}

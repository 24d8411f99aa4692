//! HTTP/1.1 messages (RFC 9112), without I/O: the head of a request, and the head and the body of its response.
//! httparse parses heads and chunk sizes, as it does in hyper.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Header, Status, parse_chunk_size};
use memchr::memchr;
use reqwest::{
    Method,
    header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING},
};

/// Maximum number of headers of a response.
const MAX_HEADERS: usize = 100;

/// Writes the head of a request with a body of this length.
///
/// # Errors
/// `InvalidInput` when the path has invalid characters.
pub(super) fn request_head(
    method: &Method,
    path: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    length: usize,
) -> io::Result<Vec<u8>> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with invalid characters"));
    }
    let mut head = Vec::with_capacity(512);
    for part in [method.as_str(), " ", if path.starts_with('/') { "" } else { "/" }, path] {
        head.extend_from_slice(part.as_bytes());
    }
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(host.as_bytes());
    for (name, value) in headers {
        for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
            head.extend_from_slice(part);
        }
    }
    if length > 0 || method != Method::GET {
        head.extend_from_slice(b"\r\ncontent-length: ");
        head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    Ok(head)
}

/// Head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) body: Body,
    /// Whether another request may follow on the connection.
    pub(super) is_reusable: bool,
}

/// Remainder of a response's body.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunks(Chunks),
    UntilClosed,
}

/// State of a chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Ended,
}

impl Head {
    /// Parses the head at the beginning of `bytes`, and returns its length; `None` when it is incomplete. An
    /// interim response, such as 100 Continue, is a response like others here.
    ///
    /// # Errors
    /// `InvalidData` when it is not HTTP.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Self)>> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let Status::Complete(length) = response.parse(bytes).map_err(invalid)? else { return Ok(None) };
        let (Some(status), Some(version)) = (response.code, response.version) else { return Ok(None) };
        let body = Body::announced(status, response.headers)?;
        let closes = named(response.headers, &CONNECTION).any(|value| tokens(value).any(is(b"close")));
        let is_reusable = version == 1 && !closes && !matches!(body, Body::UntilClosed);
        Ok(Some((length, Self { status, body, is_reusable })))
    }
}

impl Body {
    /// Body according to the headers (RFC 9112, section 6.3), if the request was no HEAD and no CONNECT.
    fn announced(status: u16, headers: &[Header<'_>]) -> io::Result<Self> {
        if matches!(status, 100..=199 | 204 | 304) {
            return Ok(Self::Length(0));
        }
        let mut codings = named(headers, &TRANSFER_ENCODING).flat_map(tokens);
        match (codings.next(), codings.next()) {
            (None, _) => {}
            (Some(coding), None) if is(b"chunked")(coding) => return Ok(Self::Chunks(Chunks::Size)),
            _ => return Err(invalid("a transfer coding that was not requested")),
        }
        let mut lengths = named(headers, &CONTENT_LENGTH).flat_map(tokens).map(number);
        let Some(length) = lengths.next() else { return Ok(Self::UntilClosed) };
        let length = length.filter(|_| lengths.all(|other| other == length));
        length.map(Self::Length).ok_or_else(|| invalid("an invalid content length"))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunks(Chunks::Ended))
    }

    /// Takes the part of the body that has arrived. Chunks that have arrived together are returned as one.
    ///
    /// # Errors
    /// `InvalidData` when the chunks are malformed.
    pub(super) fn take(&mut self, arrived: &mut BytesMut) -> io::Result<Bytes> {
        match self {
            Self::Length(left) => {
                let taken = within(*left, arrived.len());
                *left -= taken as u64;
                Ok(arrived.split_to(taken).freeze())
            }
            Self::Chunks(chunks) => chunks.take(arrived),
            Self::UntilClosed => Ok(arrived.split().freeze()),
        }
    }
}

impl Chunks {
    /// Joins the data of all chunks in place.
    fn take(&mut self, arrived: &mut BytesMut) -> io::Result<Bytes> {
        let (mut read, mut made) = (0, 0);
        loop {
            let rest = &arrived[read..];
            match self {
                Self::Size => match parse_chunk_size(rest) {
                    Ok(Status::Complete((length, size))) => {
                        read += length;
                        *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                    }
                    Ok(Status::Partial) => break,
                    Err(_) => return Err(invalid("a chunk without a size")),
                },
                Self::Data(left) => {
                    let length = within(*left, rest.len());
                    arrived.copy_within(read..read + length, made);
                    (read, made, *left) = (read + length, made + length, *left - length as u64);
                    if *left > 0 {
                        break;
                    }
                    *self = Self::DataEnd;
                }
                Self::DataEnd => match rest {
                    [b'\r', b'\n', ..] => (read, *self) = (read + 2, Self::Size),
                    [] | [b'\r'] => break,
                    _ => return Err(invalid("a chunk longer than its stated size")),
                },
                Self::Trailers => {
                    let Some(end) = memchr(b'\n', rest) else { break };
                    if matches!(rest[..end], [] | [b'\r']) {
                        *self = Self::Ended;
                    }
                    read += end + 1;
                }
                Self::Ended => break,
            }
        }
        let data = arrived.split_to(made).freeze();
        arrived.advance(read - made);
        Ok(data)
    }
}

/// Returns the smaller of both.
fn within(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

fn named<'a>(headers: &'a [Header<'a>], name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name.as_str()))
        .map(|header| header.value)
}

/// Splits a header's list.
fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is(name: &[u8]) -> impl Fn(&[u8]) -> bool {
    move |token| token.eq_ignore_ascii_case(name)
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chunked body, and its data.
    fn in_chunks() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let chunk = (prop::collection::vec(any::<u8>(), 1..60), "(|;a|;a=b|; a=\"b\")", any::<bool>());
        let trailers = prop::collection::vec("[a-z]{1,8}: [a-z;=]{0,8}", 0..3);
        (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
            let (mut sent, mut data) = (Vec::new(), Vec::new());
            for (part, extension, upper) in chunks {
                let size = if upper { format!("{:X}", part.len()) } else { format!("0{:x}", part.len()) };
                sent.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                sent.extend_from_slice(&part);
                sent.extend_from_slice(b"\r\n");
                data.extend_from_slice(&part);
            }
            sent.extend_from_slice(b"0\r\n");
            for trailer in trailers {
                sent.extend_from_slice(format!("{trailer}\r\n").as_bytes());
            }
            sent.extend_from_slice(b"\r\n");
            (sent, data)
        })
    }

    proptest! {
        /// Wherever the network cuts the stream, the data is the same, and bytes after the body are kept.
        #[test]
        fn any_cut_gives_the_same_data(
            (sent, data) in in_chunks(),
            mut cuts in prop::collection::vec(0usize..500, 0..12),
        ) {
            let stream = [&sent, b"HTTP/1.1".as_slice()].concat();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let (mut body, mut arrived, mut found) = (Body::Chunks(Chunks::Size), BytesMut::new(), Vec::new());
            for cut in cuts.windows(2) {
                let (from, to) = (cut[0].min(stream.len()), cut[1].min(stream.len()));
                arrived.extend_from_slice(&stream[from..to]);
                found.extend_from_slice(&body.take(&mut arrived).expect("chunks"));
                prop_assert_eq!(body.is_over(), to >= sent.len());
            }
            prop_assert_eq!(found, data);
            prop_assert_eq!(&*arrived, b"HTTP/1.1");
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), of_http: bool) {
            let start: &[u8] = if of_http { b"HTTP/1.1 200 OK\r\n" } else { b"" };
            let bytes = [start, &bytes].concat();
            let _ = Head::parse(&bytes);
            let mut arrived = BytesMut::from(&*bytes);
            let _ = Body::Chunks(Chunks::Size).take(&mut arrived);
            prop_assert!(arrived.len() <= bytes.len());
        }
    }

    /// Returns the body that these headers announce, and whether the connection is reusable.
    fn announced(status: &str, headers: &str) -> Result<(String, bool), String> {
        let bytes = format!("HTTP/1.1 {status}\r\n{headers}\r\n");
        let (length, head) =
            Head::parse(bytes.as_bytes()).map_err(|error| error.to_string())?.expect("whole");
        assert_eq!(length, bytes.len());
        Ok((format!("{:?}", head.body), head.is_reusable))
    }

    #[test]
    fn a_head_says_how_long_the_body_is() {
        let cases = [
            ("200 OK", "Content-Length: 12\r\n", Ok(("Length(12)", true))),
            ("200 OK", "content-length: 7, 7\r\nCONTENT-LENGTH:7\r\n", Ok(("Length(7)", true))),
            ("200 OK", "content-length: 7\r\ncontent-length: 8\r\n", Err("an invalid content length")),
            ("200 OK", "content-length: +7\r\n", Err("an invalid content length")),
            ("200 OK", "content-length: 99999999999999999999\r\n", Err("an invalid content length")),
            ("200 OK", "content-length:\r\n", Err("an invalid content length")),
            ("200 OK", "transfer-encoding: Chunked\r\ncontent-length: 5\r\n", Ok(("Chunks(Size)", true))),
            (
                "200 OK",
                "transfer-encoding: gzip, chunked\r\n",
                Err("a transfer coding that was not requested"),
            ),
            ("200 OK", "connection: keep-alive, Close\r\ncontent-length: 1\r\n", Ok(("Length(1)", false))),
            ("200 OK", "", Ok(("UntilClosed", false))),
            ("204 No Content", "", Ok(("Length(0)", true))),
            ("304 Not Modified", "content-length: 9\r\n", Ok(("Length(0)", true))),
            ("100 Continue", "", Ok(("Length(0)", true))),
            ("404", "content-length: 0\r\n", Ok(("Length(0)", true))),
        ];
        for (status, headers, expected) in cases {
            let expected = expected.map(|(body, kept)| (body.to_owned(), kept)).map_err(str::to_owned);
            assert_eq!(announced(status, headers), expected, "{status}, {headers:?}");
        }
        let old =
            Head::parse(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n").expect("HTTP").expect("whole").1;
        assert!(!old.is_reusable);
    }

    fn head(method: Method, path: &str, length: usize) -> io::Result<String> {
        let (host, headers) = (HeaderValue::from_static("h"), HeaderMap::new());
        let head = request_head(&method, path, &host, &headers, length)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    #[test]
    fn only_what_has_a_body_says_how_long_it_is() {
        let head = |method, length| head(method, "/?a", length).expect("a path");
        assert_eq!(head(Method::GET, 0), "GET /?a HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(head(Method::POST, 0), "POST /?a HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        assert!(head(Method::GET, 2).ends_with("\r\ncontent-length: 2\r\n\r\n"));
    }

    #[test]
    fn a_path_cannot_smuggle_a_header() {
        for path in ["/a b", "/a\r\nx: y", "/ä"] {
            assert!(head(Method::GET, path, 0).is_err(), "{path:?}");
        }
        assert_eq!(head(Method::GET, "", 0).expect("a path"), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    }
}

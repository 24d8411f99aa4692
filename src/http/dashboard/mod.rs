//! `/dashboard`: pages for browsers, which use the public API like any other client. Their headers allow nothing that
//! does not come from this server.

mod files;
pub(super) mod session;

use std::{fmt::Write, io::Read, sync::Arc};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use self::files::File;
pub use self::files::Files;
use super::{
    HttpState,
    accept::weight,
    middleware::errors::{Result, nothing_here},
};
use crate::error::{Error, Kind};

const INDEX: &str = "index.html";

/// Folder of files whose names change with their contents.
const HASHED: &str = "assets/";

/// Page of a program that was built without the dashboard.
const NOT_BUILT: &str = include_str!("not_built.html");

const SECURITY: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub(super) async fn index(State(state): State<Arc<HttpState>>, headers: HeaderMap) -> Result<Response> {
    match state.dashboard.find(INDEX) {
        Some(file) => page(INDEX, file, &headers),
        None => {
            let uncached = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, content_type(INDEX))];
            Ok((SECURITY, uncached, NOT_BUILT).into_response())
        }
    }
}

/// A file, or for a path of the page's own, such as `/dashboard/models`, the page.
pub(super) async fn file(
    state: State<Arc<HttpState>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    if !names_a_file(&path) {
        return index(state, headers).await;
    }
    page(&path, state.dashboard.find(&path).ok_or_else(nothing_here)?, &headers)
}

/// Whether the path ends like a file's name. Names of models may be in it, too, such as `llama3.2` and `qwen2.5:7b`.
fn names_a_file(path: &str) -> bool {
    let extension = path.rsplit('/').next().and_then(|name| Some(name.rsplit_once('.')?.1));
    let is_extension = |extension: &str| {
        extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    path.starts_with(HASHED) || extension.is_some_and(is_extension)
}

fn page(name: &str, file: File, request: &HeaderMap) -> Result<Response> {
    let mut headers = HeaderMap::new();
    if file.is_gzip {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if name.starts_with(HASHED) {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, forever);
    } else {
        let etag = etag(&file.bytes);
        let is_known = is_known(request, &etag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.extend(HeaderValue::try_from(etag).map(|etag| (header::ETAG, etag)));
        if is_known {
            return Ok((StatusCode::NOT_MODIFIED, SECURITY, headers).into_response());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    let is_sent_compressed = file.is_gzip && accepts_gzip(request);
    if is_sent_compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let bytes = if file.is_gzip && !is_sent_compressed { inflate(&file.bytes)? } else { file.bytes };
    Ok((SECURITY, headers, bytes).into_response())
}

/// Weak, because a file's bytes differ when they are sent compressed.
fn etag(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..8].iter().fold("W/\"".to_owned(), |mut etag, byte| {
        let _ = write!(etag, "{byte:02x}");
        etag
    }) + "\""
}

fn is_known(request: &HeaderMap, etag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut known = lists.flat_map(|list| list.split(',').map(str::trim));
    known.any(|known| known == "*" || known.trim_start_matches("W/") == etag.trim_start_matches("W/"))
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok());
    accepted.and_then(|accepted| weight(accepted, "gzip").or_else(|| weight(accepted, "*"))) > Some(0.0)
}

fn inflate(compressed: &[u8]) -> Result<Bytes> {
    let mut bytes = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut bytes).map_err(|source| {
        Error::new(Kind::Internal, "This file of the dashboard is damaged; build the program again.")
            .with_source(source)
    })?;
    Ok(bytes.into())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files_and_of_the_pages_own_are_told_apart() {
        for (path, is_file) in [
            ("models", false),
            ("models/", false),
            ("models/llama3.2", false),
            ("models/qwen2.5:7b", false),
            ("playground/chat", false),
            ("favicon.svg", true),
            ("index.html", true),
            ("deep/x.php", true),
            (".env", true),
            ("assets/", true),
            ("assets/index-abc", true),
        ] {
            assert_eq!(names_a_file(path), is_file, "{path}");
        }
    }

    #[test]
    fn clients_say_what_they_have_and_what_they_read() {
        let asks = |name: HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        for (list, known) in
            [("W/\"a\"", true), ("\"a\"", true), ("W/\"b\", W/\"a\"", true), ("*", true), ("W/\"b\"", false)]
        {
            assert_eq!(is_known(&asks(header::IF_NONE_MATCH, list), "W/\"a\""), known, "{list}");
        }
        for (list, gzip) in [
            ("gzip, deflate, br, zstd", true),
            ("*", true),
            ("gzip;q=0.5", true),
            ("br", false),
            ("gzip;q=0, *", false),
            ("identity", false),
        ] {
            assert_eq!(accepts_gzip(&asks(header::ACCEPT_ENCODING, list)), gzip, "{list}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}

//! A request as its caller describes it; the client adds the server's address and the trace.

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};

/// Whether a request may reach the server twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Sent on a kept connection, and again on a new one if the server closed the kept one without an answer.
    Idempotent,
    /// Sent once, on a new connection: a kept one may be closed at any time, and nothing tells whether the
    /// server has read the request before.
    Never,
}

/// An outgoing request.
pub struct Request<'a> {
    pub method: Method,
    /// Path with its query, relative to the client's URL.
    pub path: &'a str,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub retry: Retry,
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        let (method, headers) = (Method::GET, HeaderMap::new());
        Self { method, path, headers, body: Vec::new(), retry: Retry::Idempotent }
    }

    /// Returns a POST with a JSON body.
    pub fn post(path: &'a str, json: Vec<u8>, retry: Retry) -> Self {
        let json_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { method: Method::POST, path, headers: [json_type].into_iter().collect(), body: json, retry }
    }
}

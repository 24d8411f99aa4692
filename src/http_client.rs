//! The only outgoing HTTP client: connection pools, timeouts and unix sockets. Callers interpret the status
//! and the body.

mod connection;
mod downloads;
mod full;
mod message;
mod pool;
mod request;
mod url;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use clap::Args;
use reqwest::header::AUTHORIZATION;
pub use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

pub use self::{
    downloads::{Credentials, Download, Downloads},
    request::{Request, Retry},
    url::{has_password, origin, parse_endpoint, server_url},
};
use self::{
    full::proxy_for,
    pool::{Address, Pool},
    url::is_loopback,
};
use crate::{
    error::{Error, Kind, Result},
    request_context::with_current,
    value_parser::{milliseconds, seconds},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backend timeouts")]
#[group(skip)]
pub struct Settings {
    /// Milliseconds to wait for a connection to a backend server such as Ollama
    #[arg(long, env = "BACKEND_CONNECT_TIMEOUT_MS", default_value = "3000", value_parser = milliseconds(1..=600_000))]
    pub backend_connect_timeout_ms: u64,
    /// Seconds to wait for the first byte of a backend server's response, including the time to load a model
    #[arg(long, env = "BACKEND_FIRST_BYTE_TIMEOUT_S", default_value = "300", value_parser = seconds(1..=86_400))]
    pub backend_first_byte_timeout_s: u64,
    /// Seconds to wait for the next part of a backend server's response
    #[arg(long, env = "BACKEND_IDLE_TIMEOUT_S", default_value = "60", value_parser = seconds(1..=86_400))]
    pub backend_idle_timeout_s: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    /// Time from the request to the response's headers, and from these to the first byte of its body: servers may
    /// send headers before they begin to work.
    pub first_byte: Duration,
    /// Time between two parts of the body.
    pub idle: Duration,
}

impl From<&Settings> for Timeouts {
    fn from(settings: &Settings) -> Self {
        Self {
            connect: Duration::from_millis(settings.backend_connect_timeout_ms),
            first_byte: Duration::from_secs(settings.backend_first_byte_timeout_s),
            idle: Duration::from_secs(settings.backend_idle_timeout_s),
        }
    }
}

/// Destination of a client's requests.
#[derive(Clone, Debug)]
pub enum Target {
    /// `http://host:port/base`; a user name and password in it are sent, but never shown.
    Url(String),
    /// One URL, requested unchanged, with its query; paths are empty.
    Endpoint(String),
    /// A unix socket that speaks HTTP.
    Unix(PathBuf),
}

/// A pool of connections to one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Way,
    base: String,
    /// Address of the server and of a proxy, without passwords, for the log.
    place: String,
    is_proxied: bool,
    timeouts: Timeouts,
    /// Name of the server in messages: `Ollama`, `the engine`.
    peer: &'static str,
    /// Header of each request.
    authorization: Option<Arc<HeaderValue>>,
}

/// Transport to a server.
#[derive(Clone)]
enum Way {
    /// Plain HTTP without a proxy, as with nearly every backend; the fastest.
    Direct(Pool),
    /// TLS, a proxy, a password in the URL.
    Full(reqwest::Client),
}

impl Client {
    /// # Errors
    /// `Kind::Setup` when the URL is not an http(s) URL.
    pub fn new(peer: &'static str, target: Target, timeouts: Timeouts) -> Result<Self> {
        let (url, is_endpoint) = match target {
            Target::Url(url) => (url, false),
            Target::Endpoint(url) => (url, true),
            Target::Unix(path) => {
                let (place, host) = (path.display().to_string(), HeaderValue::from_static("localhost"));
                let way = Way::Direct(Pool::new(Address::Unix(path), host, timeouts.connect));
                let base = String::new();
                return Ok(Self { way, base, place, is_proxied: false, timeouts, peer, authorization: None });
            }
        };
        let url = parse_endpoint(&url)
            .map_err(|accepted| Error::new(Kind::Setup, format!("The URL of {peer} {accepted}.")))?;
        let proxy = proxy_for(&url);
        let (way, mut base) = match direct(&url, timeouts.connect).filter(|_| proxy.is_none()) {
            Some((pool, path)) => (Way::Direct(pool), path),
            None => (Way::Full(full::client(peer, timeouts.connect, is_loopback(&url))?), url.clone()),
        };
        if !is_endpoint {
            // Paths begin with a slash.
            base.truncate(base.trim_end_matches('/').len());
        }
        let is_proxied = proxy.is_some();
        let through = proxy.map_or(String::new(), |proxy| format!(" through the proxy {proxy}"));
        let place = origin(&url) + &through;
        Ok(Self { way, base, place, is_proxied, timeouts, peer, authorization: None })
    }

    /// Sends a key with each request, as a bearer token.
    ///
    /// # Errors
    /// `Kind::Setup` when it has characters that a header cannot have.
    pub fn with_key(mut self, key: &str) -> Result<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| {
            Error::new(Kind::Setup, format!("The API key of {} has invalid characters.", self.peer))
        })?;
        value.set_sensitive(true);
        self.authorization = Some(Arc::new(value));
        Ok(self)
    }

    /// Sends a request and waits for the response's headers. Returns `Ok` for every status. Dropping the
    /// future or the response aborts the call.
    ///
    /// # Errors
    /// `Unavailable` when no connection can be made, `GatewayTimeout` when the headers do not come
    /// in time, `BadGateway` when the connection breaks.
    pub async fn send(&self, mut request: Request<'_>) -> Result<Response> {
        if let Some(value) = &self.authorization {
            request.headers.insert(AUTHORIZATION, value.as_ref().clone());
        }
        // The server continues the trace of the request that it works for.
        with_current(|context| {
            for (name, value) in context.trace_headers() {
                if let Ok(value) = HeaderValue::try_from(value) {
                    request.headers.insert(HeaderName::from_static(name), value);
                }
            }
        });
        let sent = tokio::time::timeout(self.timeouts.first_byte, self.attempt(request)).await;
        let inner = sent.map_err(|_| {
            Error::new(
                Kind::GatewayTimeout,
                format!("{} did not respond within {} s.", self.peer, self.timeouts.first_byte.as_secs_f32()),
            )
        })??;
        let Self { is_proxied, timeouts, peer, .. } = *self;
        Ok(Response { inner, is_proxied, timeouts, has_begun: false, peer })
    }

    async fn attempt(&self, request: Request<'_>) -> Result<Inner> {
        let path = [&self.base, request.path].concat();
        match &self.way {
            Way::Direct(pool) => match pool.send(Request { path: &path, ..request }).await {
                Ok(answer) => Ok(Inner::Direct(answer)),
                Err(pool::Error::Connect(source)) => Err(self.unreachable(source)),
                Err(pool::Error::Broken(source)) => Err(self.broken(source)),
            },
            // reqwest sends again only what it knows has not been sent.
            Way::Full(http) => {
                let Request { method, headers, body, .. } = request;
                let request = http.request(method, path).headers(headers);
                let request = if body.is_empty() { request } else { request.body(body) };
                request.send().await.map(Inner::Full).map_err(|source| {
                    let source = source.without_url();
                    if source.is_connect() || source.is_timeout() {
                        self.unreachable(source)
                    } else {
                        self.broken(source)
                    }
                })
            }
        }
    }

    fn unreachable(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        let through = if self.is_proxied { THROUGH_PROXY } else { "" };
        Error::new(Kind::Unavailable, format!("{} cannot be reached{through}.", self.peer))
            .retry_after(Duration::from_secs(2))
            .with_source(At { place: self.place.clone(), source })
    }

    fn broken(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(Kind::BadGateway, format!("{} closed the connection before it responded.", self.peer))
            .with_source(At { place: self.place.clone(), source })
    }

    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Returns the name of the server in messages.
    pub fn peer(&self) -> &'static str {
        self.peer
    }
}

/// End of a sentence about a failure.
const THROUGH_PROXY: &str = " through the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names";

/// Names the server of a failure.
#[derive(Debug)]
struct At<E> {
    place: String,
    source: E,
}

impl<E: std::error::Error> fmt::Display for At<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for At<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Response whose headers have arrived, but not its body.
pub struct Response {
    inner: Inner,
    is_proxied: bool,
    timeouts: Timeouts,
    /// Whether a byte of the body has arrived.
    has_begun: bool,
    peer: &'static str,
}

enum Inner {
    Direct(pool::Answer),
    Full(reqwest::Response),
}

impl Response {
    pub fn status(&self) -> u16 {
        match &self.inner {
            Inner::Direct(answer) => answer.status,
            Inner::Full(response) => response.status().as_u16(),
        }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    pub fn peer(&self) -> &'static str {
        self.peer
    }

    /// Hint for an error response that may come from a proxy.
    pub fn through_proxy(&self) -> &'static str {
        if self.is_proxied { THROUGH_PROXY } else { "" }
    }

    /// Returns the time to wait for the next part of the body.
    pub fn timeout(&self) -> Duration {
        if self.has_begun { self.timeouts.idle } else { self.timeouts.first_byte }
    }

    /// Returns the next part of the body, `None` at its proper end. Has no timeout of its own.
    ///
    /// # Errors
    /// `BadGateway` when the connection breaks before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = match &mut self.inner {
            Inner::Direct(answer) => answer.chunk().await.map_err(|source| self.cut_off(source)),
            Inner::Full(response) => {
                response.chunk().await.map_err(|source| self.cut_off(source.without_url()))
            }
        };
        self.has_begun |= matches!(chunk, Ok(Some(_)));
        chunk
    }

    /// Returns the connection to the pool once the caller has read all that it needs of the body.
    pub fn finish(self) {
        // reqwest does this itself.
        if let Inner::Direct(answer) = self.inner {
            answer.finish();
        }
    }

    fn cut_off(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(Kind::BadGateway, format!("{} closed the connection mid-response.", self.peer))
            .with_source(source)
    }

    /// Returns the whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// `BadGateway` when it is longer or cut off, `GatewayTimeout` when it pauses for too long.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let chunk =
                tokio::time::timeout(self.timeout(), self.chunk()).await.map_err(|_| self.paused())??;
            let Some(chunk) = chunk else { return Ok(whole.freeze()) };
            if whole.len() + chunk.len() > limit {
                return Err(Error::new(
                    Kind::BadGateway,
                    format!("{} sent more than {} MB.", self.peer, limit / 1_000_000),
                ));
            }
            whole.extend_from_slice(&chunk);
        }
    }

    /// Returns the beginning of an error response's body, at most `limit` bytes, or as much as arrives.
    pub async fn beginning(mut self, limit: usize) -> Bytes {
        let mut beginning = BytesMut::new();
        while beginning.len() < limit
            && let Ok(Ok(Some(chunk))) = tokio::time::timeout(self.timeouts.idle, self.chunk()).await
        {
            beginning.extend_from_slice(&chunk);
        }
        beginning.truncate(limit);
        beginning.freeze()
    }

    /// Error for a body that stalled.
    pub fn paused(&self) -> Error {
        let Self { peer, timeouts: Timeouts { first_byte, idle, .. }, .. } = self;
        let message = if self.has_begun {
            format!("{peer} paused for more than {} s mid-response.", idle.as_secs_f32())
        } else {
            format!("{peer} did not respond within {} s.", first_byte.as_secs_f32())
        };
        Error::new(Kind::GatewayTimeout, message)
    }
}

/// Returns the pool, and the path with its query, for a URL that needs only a TCP connection.
fn direct(base: &str, connect_timeout: Duration) -> Option<(Pool, String)> {
    let url = reqwest::Url::parse(base).ok()?;
    let plain = url.scheme() == "http" && !has_password(base);
    if !plain {
        return None;
    }
    // The brackets of an IPv6 address are part of the header, but not of the resolver's input.
    let host = url.host_str()?;
    let port = url.port_or_known_default()?;
    let header = HeaderValue::try_from(url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")));
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    let path = format!("{}{query}", url.path());
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let pool = Pool::new(Address::Tcp { host: name, port }, header.ok()?, connect_timeout);
    Some((pool, path))
}

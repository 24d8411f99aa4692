//! The one outgoing HTTP client: connection pools, timeouts and unix sockets. It knows nothing of
//! what is said over it; a status is the caller's to judge.

mod connection;
mod message;
mod pool;

use std::{path::PathBuf, sync::Once, time::Duration};

use bytes::{Bytes, BytesMut};
use clap::Args;
use hyper_util::client::proxy::matcher::Matcher;
pub use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use self::pool::{Address, Pool};
use crate::{
    context::with_current,
    error::{Error, Kind, Result},
    setting::{milliseconds, seconds},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backend timeouts")]
#[group(skip)]
pub struct Settings {
    /// Milliseconds to wait for a connection to a backend that is another server, such as Ollama
    #[arg(long, env = "BACKEND_CONNECT_TIMEOUT_MS", default_value = "3000", value_parser = milliseconds(1..=600_000))]
    pub backend_connect_timeout_ms: u64,
    /// Seconds to wait for the first byte of such a server's answer, loading a model included
    #[arg(long, env = "BACKEND_FIRST_BYTE_TIMEOUT_S", default_value = "300", value_parser = seconds(1..=86_400))]
    pub backend_first_byte_timeout_s: u64,
    /// Seconds such a server may pause between two parts of its answer
    #[arg(long, env = "BACKEND_IDLE_TIMEOUT_S", default_value = "60", value_parser = seconds(1..=86_400))]
    pub backend_idle_timeout_s: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request to the response's headers.
    pub first_byte: Duration,
    /// Between two parts of the body.
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

/// Where a client's requests go.
#[derive(Clone, Debug)]
pub enum Target {
    /// `http://host:port/base`; a user and password in it are sent and never shown.
    Url(String),
    /// One address, asked as it is, with its query; paths are empty.
    Endpoint(String),
    /// A unix socket that speaks HTTP.
    Unix(PathBuf),
}

/// A pool of connections to one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Way,
    base: String,
    timeouts: Timeouts,
    /// What the server is called in messages: `Ollama`, `the engine`.
    peer: &'static str,
}

/// How a server is reached.
#[derive(Clone)]
enum Way {
    /// Plain HTTP straight to it, as with nearly every backend: the way that costs least.
    Direct(Pool),
    /// TLS, a proxy, a password in the URL.
    Full(reqwest::Client),
}

impl Client {
    /// # Errors
    /// `Kind::Setup` when the URL is not an http(s) URL.
    pub fn new(peer: &'static str, target: Target, timeouts: Timeouts) -> Result<Self> {
        let (way, base) = match target {
            Target::Url(url) => {
                let base = parse_url(&url)
                    .map_err(|accepted| Error::new(Kind::Setup, format!("The URL of {peer} {accepted}.")))?;
                let (way, base) = Self::way(peer, base, timeouts)?;
                // Paths begin with a slash.
                (way, base.trim_end_matches('/').to_owned())
            }
            Target::Endpoint(url) => {
                let url = parse_endpoint(&url)
                    .map_err(|accepted| Error::new(Kind::Setup, format!("The URL of {peer} {accepted}.")))?;
                Self::way(peer, url, timeouts)?
            }
            Target::Unix(path) => {
                let host = HeaderValue::from_static("localhost");
                (Way::Direct(Pool::new(Address::Unix(path), host, timeouts.connect)), String::new())
            }
        };
        Ok(Self { way, base, timeouts, peer })
    }

    fn way(peer: &str, base: String, timeouts: Timeouts) -> Result<(Way, String)> {
        Ok(match direct(&base, timeouts.connect) {
            Some((pool, path)) => (Way::Direct(pool), path),
            None => (Way::Full(full(peer, timeouts.connect)?), base),
        })
    }

    /// Sends a request, with a JSON body when there is one, and waits for the response's headers.
    /// Whatever the status is, it is an `Ok`. Dropping the future or the response aborts the call.
    ///
    /// # Errors
    /// `Unavailable` when no connection can be made, `GatewayTimeout` when the headers do not come
    /// in time, `BadGateway` when the connection breaks.
    pub async fn send(&self, method: Method, path: &str, json: Option<Vec<u8>>) -> Result<Response> {
        let mut headers = HeaderMap::with_capacity(4);
        if json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.send_with(method, path, headers, json).await
    }

    /// The same with any headers and body.
    ///
    /// # Errors
    /// As `send`.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Response> {
        // Whoever works for a request is told of its trace.
        with_current(|context| {
            for (name, value) in context.trace_headers() {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        });
        let attempt = self.attempt(method, path, headers, body);
        let sent = tokio::time::timeout(self.timeouts.first_byte, attempt).await;
        let inner = sent.map_err(|_| {
            Error::new(
                Kind::GatewayTimeout,
                format!("{} did not answer within {} s.", self.peer, self.timeouts.first_byte.as_secs_f32()),
            )
        })??;
        Ok(Response { inner, idle: self.timeouts.idle, peer: self.peer })
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Inner> {
        let path = [&self.base, path].concat();
        match &self.way {
            Way::Direct(pool) => match pool.send(&method, &path, &headers, body.unwrap_or_default()).await {
                Ok(answer) => Ok(Inner::Direct(answer)),
                Err(pool::Error::Connect(source)) => Err(self.unreachable(source)),
                Err(pool::Error::Broken(source)) => Err(self.broken(source)),
            },
            Way::Full(http) => {
                let mut request = http.request(method, path).headers(headers);
                if let Some(body) = body {
                    request = request.body(body);
                }
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
        Error::new(Kind::Unavailable, format!("{} cannot be reached.", self.peer))
            .retry_after(Duration::from_secs(2))
            .because(source)
    }

    fn broken(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(Kind::BadGateway, format!("{} broke off before it answered.", self.peer)).because(source)
    }

    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// What the server is called in messages.
    pub fn peer(&self) -> &'static str {
        self.peer
    }
}

/// The headers are here, the body is still to come.
pub struct Response {
    inner: Inner,
    idle: Duration,
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

    pub fn idle_timeout(&self) -> Duration {
        self.idle
    }

    /// The next part of the body as it arrives, `None` at its proper end. Has no timeout of its own.
    ///
    /// # Errors
    /// `BadGateway` when the connection breaks before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match &mut self.inner {
            Inner::Direct(answer) => answer.chunk().await.map_err(|source| self.cut_off(source)),
            Inner::Full(response) => {
                response.chunk().await.map_err(|source| self.cut_off(source.without_url()))
            }
        }
    }

    /// For who has read all that matters of the body, so that the connection can be used again.
    pub fn finish(self) {
        // reqwest sees to it itself.
        if let Inner::Direct(answer) = self.inner {
            answer.finish();
        }
    }

    fn cut_off(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(Kind::BadGateway, format!("{} broke off in the middle of its answer.", self.peer))
            .because(source)
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// `BadGateway` when it is longer or breaks off, `GatewayTimeout` when it pauses for too long.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let chunk = tokio::time::timeout(self.idle, self.chunk()).await.map_err(|_| self.paused())??;
            let Some(chunk) = chunk else { return Ok(whole.freeze()) };
            if whole.len() + chunk.len() > limit {
                return Err(Error::new(
                    Kind::BadGateway,
                    format!("{} answered with more than {} MB.", self.peer, limit / 1_000_000),
                ));
            }
            whole.extend_from_slice(&chunk);
        }
    }

    /// The body's beginning, at most `limit` bytes, or as much as comes: what else a refusal says.
    pub async fn beginning(mut self, limit: usize) -> Bytes {
        let mut beginning = BytesMut::new();
        while beginning.len() < limit
            && let Ok(Ok(Some(chunk))) = tokio::time::timeout(self.idle, self.chunk()).await
        {
            beginning.extend_from_slice(&chunk);
        }
        beginning.truncate(limit);
        beginning.freeze()
    }

    /// The error for a body that stopped coming.
    pub fn paused(&self) -> Error {
        Error::new(
            Kind::GatewayTimeout,
            format!("{} paused for more than {} s in its answer.", self.peer, self.idle.as_secs_f32()),
        )
    }
}

/// Checks the URL of a server, for settings: an http(s) URL with a host, without its last slash.
///
/// # Errors
/// What is accepted.
pub fn parse_url(text: &str) -> Result<String, String> {
    reqwest::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none())
        .map(|_| text.trim_end_matches('/').to_owned())
        .ok_or_else(|| "must be a URL like http://localhost:11434".to_owned())
}

/// Checks the URL of one address, for settings: an http(s) URL with a host, as it is.
///
/// # Errors
/// What is accepted.
pub fn parse_endpoint(text: &str) -> Result<String, String> {
    reqwest::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(|_| text.to_owned())
        .ok_or_else(|| "must be a URL like https://example.org/hook".to_owned())
}

/// The pool, and the path with its query, for a URL that needs nothing but a TCP connection.
fn direct(base: &str, connect_timeout: Duration) -> Option<(Pool, String)> {
    let url = reqwest::Url::parse(base).ok()?;
    let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
    if !plain || Matcher::from_system().intercept(&base.parse().ok()?).is_some() {
        return None;
    }
    // The brackets of an IPv6 address belong into the header and not to the resolver.
    let host = url.host_str()?;
    let port = url.port_or_known_default()?;
    let header = HeaderValue::try_from(url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")));
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    let path = format!("{}{query}", url.path());
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let pool = Pool::new(Address::Tcp { host: name, port }, header.ok()?, connect_timeout);
    Some((pool, path))
}

fn full(peer: &str, connect_timeout: Duration) -> Result<reqwest::Client> {
    use_ring();
    reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|source| {
            Error::new(Kind::Setup, format!("The HTTP client for {peer} cannot be set up.")).because(source)
        })
}

/// reqwest is built without a TLS provider of its own, so the process names one once.
fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error only says that somebody else has already installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

//! The one outgoing HTTP client: connection pools, timeouts and unix sockets. It knows nothing of
//! what is said over it; a status is the caller's to judge.

use std::{path::PathBuf, sync::Once, time::Duration};

use bytes::{Bytes, BytesMut};
use clap::Args;
pub use reqwest::Method;

use crate::{
    error::{Error, Kind, Result},
    setting::whole,
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backend timeouts")]
#[group(skip)]
pub struct Settings {
    /// Milliseconds to wait for a connection to a backend
    #[arg(long, env = "BACKEND_CONNECT_TIMEOUT_MS", default_value = "3000", value_parser = whole(1..=600_000_u64))]
    pub backend_connect_timeout_ms: u64,
    /// Seconds to wait for the first byte of a backend's answer, loading a model included
    #[arg(long, env = "BACKEND_FIRST_BYTE_TIMEOUT_S", default_value = "300", value_parser = whole(1..=86_400_u64))]
    pub backend_first_byte_timeout_s: u64,
    /// Seconds a backend may pause between two parts of its answer
    #[arg(long, env = "BACKEND_IDLE_TIMEOUT_S", default_value = "60", value_parser = whole(1..=86_400_u64))]
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
    /// A unix socket that speaks HTTP.
    Unix(PathBuf),
}

/// A pool of connections to one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    timeouts: Timeouts,
    /// What the server is called in messages: `Ollama`, `the engine`.
    peer: &'static str,
}

impl Client {
    /// # Errors
    /// `Kind::Setup` when the URL is not an http(s) URL.
    pub fn new(peer: &'static str, target: Target, timeouts: Timeouts) -> Result<Self> {
        use_ring();
        let builder = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        let setup = |source: reqwest::Error| {
            Error::new(Kind::Setup, format!("The HTTP client for {peer} cannot be set up.")).because(source)
        };
        let (builder, base) = match target {
            Target::Url(url) => {
                let url = parse_url(&url)
                    .map_err(|accepted| Error::new(Kind::Setup, format!("The URL of {peer} {accepted}.")))?;
                (builder, url)
            }
            // llama-server closes a connection after each streamed reply without announcing it, and
            // a request sent on such a connection is lost; a new one over a socket costs little.
            Target::Unix(path) => {
                let builder = builder.unix_socket(path).no_proxy().pool_max_idle_per_host(0);
                (builder, "http://localhost".to_owned())
            }
        };
        Ok(Self { http: builder.build().map_err(setup)?, base, timeouts, peer })
    }

    /// Sends a request, with a JSON body when there is one, and waits for the response's headers.
    /// Whatever the status is, it is an `Ok`. Dropping the future or the response aborts the call.
    ///
    /// # Errors
    /// `Unavailable` when no connection can be made, `GatewayTimeout` when the headers do not come
    /// in time, `BadGateway` when the connection breaks.
    pub async fn send(&self, method: Method, path: &str, json: Option<Vec<u8>>) -> Result<Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(json) = json {
            request = request.header("content-type", "application/json").body(json);
        }
        match tokio::time::timeout(self.timeouts.first_byte, request.send()).await {
            Ok(Ok(inner)) => Ok(Response { inner, idle: self.timeouts.idle, peer: self.peer }),
            Ok(Err(source)) => Err(self.send_error(source)),
            Err(_) => Err(Error::new(
                Kind::GatewayTimeout,
                format!("{} did not answer within {} s.", self.peer, self.timeouts.first_byte.as_secs_f32()),
            )),
        }
    }

    fn send_error(&self, source: reqwest::Error) -> Error {
        let peer = self.peer;
        let source = source.without_url();
        if source.is_connect() || source.is_timeout() {
            Error::new(Kind::Unavailable, format!("{peer} cannot be reached."))
                .retry_after(Duration::from_secs(2))
                .because(source)
        } else {
            Error::new(Kind::BadGateway, format!("{peer} broke off before it answered.")).because(source)
        }
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
    inner: reqwest::Response,
    idle: Duration,
    peer: &'static str,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub fn is_success(&self) -> bool {
        self.inner.status().is_success()
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
        self.inner.chunk().await.map_err(|source| {
            Error::new(Kind::BadGateway, format!("{} broke off in the middle of its answer.", self.peer))
                .because(source.without_url())
        })
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

/// reqwest is built without a TLS provider of its own, so the process names one once.
fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error only says that somebody else has already installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

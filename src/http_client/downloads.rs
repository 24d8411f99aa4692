//! Downloads that may be redirected to any server of the internet. Each address is checked before it is asked:
//! only servers that the operator trusts may have private addresses or do without TLS.

mod addresses;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
};
use tokio::{sync::OnceCell, time::timeout};

use self::addresses::{PublicOnly, Refused, check_host};
use super::{
    THROUGH_PROXY,
    full::{build, builder, proxy_for},
    url::origin,
};
use crate::error::{Error, Kind, Result};

/// Registries redirect once or twice.
const MAX_REDIRECTS: usize = 5;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Client for downloads. Cheap to clone.
#[derive(Clone)]
pub struct Downloads(Arc<Inner>);

struct Inner {
    rule: Rule,
    /// Set up by the first download: a server without CA certificates does everything else.
    clients: OnceCell<Clients>,
    /// Time from a request to the response's headers.
    headers_timeout: Duration,
}

/// Servers that may be asked.
enum Rule {
    /// Those with these origins, and all public ones.
    Trusted {
        origins: Vec<String>,
        /// Setting that the origins are listed in, for messages.
        setting: &'static str,
    },
    /// Public ones whose host this accepts.
    Public(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

struct Clients {
    /// For trusted origins.
    anywhere: reqwest::Client,
    /// Connects only to public addresses.
    public: reqwest::Client,
    /// The proxy resolves names, so only it can check addresses.
    proxied: reqwest::Client,
}

impl Clients {
    fn new() -> Result<Self> {
        let agent = concat!("simpleton/", env!("CARGO_PKG_VERSION"));
        let builder = || builder(CONNECT_TIMEOUT).user_agent(agent);
        Ok(Self {
            anywhere: build("downloads", builder().no_proxy())?,
            public: build("downloads", builder().no_proxy().dns_resolver(PublicOnly))?,
            proxied: build("downloads", builder())?,
        })
    }
}

/// Authorization for one origin; other origins do not get it.
#[derive(Clone)]
pub struct Credentials {
    origin: String,
    header: HeaderValue,
}

impl Credentials {
    /// Marks the header as a secret; it goes only to the origin of `url`.
    pub fn new(url: &Url, mut header: HeaderValue) -> Self {
        header.set_sensitive(true);
        Self { origin: origin(url.as_str()), header }
    }
}

impl Downloads {
    /// Creates a client that trusts the origins of these URLs, which stand in the setting named `setting`.
    pub fn new(trusted: &[Url], setting: &'static str, headers_timeout: Duration) -> Self {
        let origins = trusted.iter().map(|url| origin(url.as_str())).collect();
        Self::with(Rule::Trusted { origins, setting }, headers_timeout)
    }

    /// Creates a client for public servers, and among these only for hosts that `accepts`, also where a redirect leads.
    pub fn public(accepts: impl Fn(&str) -> bool + Send + Sync + 'static, headers_timeout: Duration) -> Self {
        Self::with(Rule::Public(Box::new(accepts)), headers_timeout)
    }

    fn with(rule: Rule, headers_timeout: Duration) -> Self {
        Self(Arc::new(Inner { rule, clients: OnceCell::new(), headers_timeout }))
    }

    /// Sends a GET request and follows redirects until a response is no redirect. Returns `Ok` for every other
    /// status.
    ///
    /// # Errors
    /// `Setup` when an address is refused or there are no CA certificates, and as `Client::send`.
    pub async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        credentials: Option<&Credentials>,
    ) -> Result<Download> {
        let (mut url, peer) = (url.clone(), peer(url));
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url, &peer, headers, credentials).await?;
            let location = response.headers().get(LOCATION).filter(|_| is_redirect(&response));
            let Some(location) = location else { return Ok(Download { response, url, peer }) };
            let next = location.to_str().ok().and_then(|location| url.join(location).ok());
            url = next.ok_or_else(|| bad_gateway(format!("{peer} redirects to an invalid address.")))?;
        }
        Err(bad_gateway(format!("{peer} redirects more than {MAX_REDIRECTS} times.")))
    }

    async fn ask(
        &self,
        url: &Url,
        peer: &str,
        headers: &HeaderMap,
        credentials: Option<&Credentials>,
    ) -> Result<reqwest::Response> {
        let inner = &*self.0;
        let is_proxied = proxy_for(url.as_str()).is_some();
        let clients = inner.clients.get_or_try_init(async || Clients::new()).await?;
        let http = self.client_for(clients, url, is_proxied).map_err(|why| self.refusal(peer, url, &why))?;
        let mut request = http.get(url.clone()).headers(headers.clone());
        if let Some(own) = credentials.filter(|own| own.origin == origin(url.as_str())) {
            request = request.header(AUTHORIZATION, own.header.clone());
        }
        let sent = timeout(inner.headers_timeout, request.send()).await.map_err(|_| {
            let seconds = inner.headers_timeout.as_secs_f32();
            Error::new(Kind::GatewayTimeout, format!("{peer} did not respond within {seconds} s."))
        })?;
        sent.map_err(|source| {
            let source = source.without_url();
            if let Some(why) = refused(&source) {
                return self.refusal(peer, url, &why);
            }
            let through = if is_proxied { THROUGH_PROXY } else { "" };
            let (kind, message) = match source.is_connect() || source.is_timeout() {
                true => (Kind::Unavailable, format!("{} cannot be reached{through}.", host_of(url, peer))),
                false => (Kind::BadGateway, format!("{peer} closed the connection before it responded.")),
            };
            Error::new(kind, message).with_source(source)
        })
    }

    /// The client that may ask this URL.
    fn client_for<'c>(
        &self,
        clients: &'c Clients,
        url: &Url,
        is_proxied: bool,
    ) -> Result<&'c reqwest::Client, Refused> {
        match &self.0.rule {
            Rule::Trusted { origins, .. } if origins.contains(&origin(url.as_str())) => {
                return Ok(if is_proxied { &clients.proxied } else { &clients.anywhere });
            }
            Rule::Public(accepts) if !accepts(url.host_str().unwrap_or_default()) => {
                return Err(Refused("is not allowed"));
            }
            Rule::Trusted { .. } | Rule::Public(_) => {}
        }
        if url.scheme() != "https" {
            return Err(Refused("is not an https:// URL"));
        }
        check_host(url)?;
        Ok(if is_proxied { &clients.proxied } else { &clients.public })
    }

    fn refusal(&self, peer: &str, url: &Url, why: &Refused) -> Error {
        let advice = match self.0.rule {
            Rule::Trusted { setting, .. } => format!(" If it is a server of yours, add it to {setting}."),
            Rule::Public(_) => String::new(),
        };
        let (shown, why) = (shown(url), why.0);
        Error::new(Kind::Setup, format!("{peer} leads to {shown}, which {why}, and is refused.{advice}"))
    }
}

/// Response whose headers have arrived, but not its body.
pub struct Download {
    response: reqwest::Response,
    /// Address after all redirects. It may contain a signature, so it is not shown.
    url: Url,
    peer: String,
}

impl Download {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns a header, unless it has other than visible ASCII characters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host that was asked first, for messages.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Returns the next part of the body, `None` at its proper end. Has no timeout of its own.
    ///
    /// # Errors
    /// `BadGateway` when the connection breaks before the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.response.chunk().await.map_err(|source| {
            bad_gateway(format!("{} closed the connection mid-response.", self.peer))
                .with_source(source.without_url())
        })
    }

    /// Returns the whole body, at most `limit` bytes, if it arrives within `patience`.
    ///
    /// # Errors
    /// `BadGateway` when it is longer or cut off, `GatewayTimeout` when it takes too long.
    pub async fn bytes(mut self, limit: usize, patience: Duration) -> Result<Bytes> {
        let peer = self.peer.clone();
        let whole = async {
            let mut whole = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if whole.len() + chunk.len() > limit {
                    let limit = limit / 1_000_000;
                    return Err(bad_gateway(format!("{} sent more than {limit} MB.", self.peer)));
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        timeout(patience, whole).await.unwrap_or_else(|_| {
            let seconds = patience.as_secs_f32();
            Err(Error::new(
                Kind::GatewayTimeout,
                format!("{peer} paused for more than {seconds} s mid-response."),
            ))
        })
    }
}

fn is_redirect(response: &reqwest::Response) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Name of a server in messages.
fn peer(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
        + &url.port().map_or(String::new(), |port| format!(":{port}"))
}

/// The host that cannot be reached, and who leads there.
fn host_of(url: &Url, first: &str) -> String {
    let host = peer(url);
    if host == first { host } else { format!("{host}, to which {first} redirects,") }
}

/// A URL's origin; of one without a host, such as `file:`, the scheme.
fn shown(url: &Url) -> String {
    if url.has_host() { origin(url.as_str()) } else { format!("{}:", url.scheme()) }
}

/// The refusal of an address by `PublicOnly`, which reqwest wraps.
fn refused(error: &reqwest::Error) -> Option<Refused> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |cause: &&(dyn StdError + 'static)| (*cause).source())
        .find_map(|cause| cause.downcast_ref::<Refused>().copied())
}

fn bad_gateway(message: String) -> Error {
    Error::new(Kind::BadGateway, message)
}

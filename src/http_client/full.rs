//! Clients for TLS and proxies, by reqwest.

use std::{sync::Once, time::Duration};

use hyper_util::client::proxy::matcher::Matcher;

use super::url::{is_loopback, origin};
use crate::error::{Error, Kind, Result};

/// The proxy of this process's environment for a URL, without its password.
pub(super) fn proxy_for(url: &str) -> Option<String> {
    if is_loopback(url) {
        return None;
    }
    let proxy = Matcher::from_system().intercept(&url.parse().ok()?)?;
    Some(origin(&proxy.uri().to_string()))
}

pub(super) fn client(peer: &str, connect_timeout: Duration, is_loopback: bool) -> Result<reqwest::Client> {
    let builder = builder(connect_timeout);
    build(peer, if is_loopback { builder.no_proxy() } else { builder })
}

pub(super) fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    use_ring();
    reqwest::Client::builder()
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
}

pub(super) fn build(peer: &str, builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder.build().map_err(|source| {
        let message = format!(
            "The HTTP client for {peer} cannot be set up; check that the system's CA certificates are installed (package ca-certificates)."
        );
        Error::new(Kind::Setup, message).with_source(source)
    })
}

/// reqwest is built without a TLS provider of its own, so the process names one once.
fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error only says that another one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

//! Requests to one registry, with its credentials. They go to the registry's own origin only, never to the
//! servers that it redirects to.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::{
    error::{Error, Kind, Result},
    http_client::{Credentials, Download, Downloads, HeaderMap, HeaderValue, Url, origin},
    types::Secret,
};

/// Limit in bytes of a manifest, a token or a page of a list of files.
const MAX_DOCUMENT: usize = 8 << 20;

pub(super) struct Session {
    downloads: Downloads,
    /// Address of the registry, without user name and password.
    base: Url,
    /// User name and password of the address.
    login: Option<HeaderValue>,
    credentials: Mutex<Option<Credentials>>,
    /// Timeout for a whole document.
    timeout: Duration,
    /// Advice for when access is denied, as the end of a sentence.
    advice: &'static str,
}

impl Session {
    /// `address` may contain a user name and password; `token` is sent with every request.
    pub(super) fn new(
        downloads: Downloads,
        mut address: Url,
        token: Option<&Secret>,
        timeout: Duration,
        advice: &'static str,
    ) -> Result<Self> {
        let login = login(&address);
        // A URL with a host takes both.
        let _ = address.set_username("").and_then(|()| address.set_password(None));
        let token = token.map(|token| format!("Bearer {}", token.expose()));
        let credentials = token.map(|token| credentials(&address, &token)).transpose()?;
        Ok(Self { downloads, base: address, login, credentials: Mutex::new(credentials), timeout, advice })
    }

    /// The URL of a resource; `path` begins without a slash.
    pub(super) fn url(&self, path: &str) -> Result<Url> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).map_err(|source| {
            Error::new(Kind::Internal, "The URL of a model's file is not valid.").with_source(source)
        })
    }

    /// Host of the registry, for messages.
    pub(super) fn host(&self) -> String {
        host(&self.base)
    }

    pub(super) fn advice(&self) -> &'static str {
        self.advice
    }

    pub(super) fn is_same_origin(&self, url: &Url) -> bool {
        origin(url.as_str()) == origin(self.base.as_str())
    }

    /// Sends a GET request. If the registry asks for credentials, gets them and sends it again.
    pub(super) async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Download> {
        let credentials = self.credentials().clone();
        let download = self.downloads.get(url, headers, credentials.as_ref()).await?;
        if download.status() != 401 || !self.is_same_origin(download.url()) {
            return Ok(download);
        }
        let challenge = download.header("www-authenticate").and_then(Challenge::parse);
        let Some(answer) = self.answer(challenge).await? else { return Ok(download) };
        *self.credentials() = Some(answer.clone());
        self.downloads.get(url, headers, Some(&answer)).await
    }

    /// The body of a response, which is a small document.
    pub(super) async fn read(&self, download: Download) -> Result<Bytes> {
        download.bytes(MAX_DOCUMENT, self.timeout).await
    }

    fn credentials(&self) -> std::sync::MutexGuard<'_, Option<Credentials>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials that a registry asks for (docs.docker.com/registry/spec/auth/token); `None` when there are
    /// none.
    async fn answer(&self, challenge: Option<Challenge>) -> Result<Option<Credentials>> {
        let login = self.login.clone();
        match challenge {
            Some(Challenge::Basic) => Ok(login.map(|login| Credentials::new(&self.base, login))),
            Some(Challenge::Bearer(realm)) => {
                let login = login.map(|login| Credentials::new(&realm, login));
                let response = self.downloads.get(&realm, &HeaderMap::new(), login.as_ref()).await?;
                if response.status() != 200 {
                    return Ok(None);
                }
                let body = self.read(response).await?;
                let Ok(Token { token, access_token }) = serde_json::from_slice(&body) else {
                    return Ok(None);
                };
                let token = token.or(access_token).map(|token| format!("Bearer {token}"));
                token.map(|token| credentials(&self.base, &token)).transpose()
            }
            None => Ok(None),
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Challenge of a registry, sent with status 401.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    /// The address that gives a token, with its query.
    Bearer(Url),
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut query) = (None, Vec::new());
        // name="value", name="value"
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            match name.trim_matches([' ', ',']) {
                "realm" => realm = Some(value),
                name @ ("service" | "scope") => query.push((name, value)),
                _ => {}
            }
            rest = after;
        }
        let mut realm = Url::parse(realm?).ok()?;
        realm.query_pairs_mut().extend_pairs(query);
        Some(Self::Bearer(realm))
    }
}

/// Host and port, as in a model's name.
pub(super) fn host(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    url.host_str().unwrap_or_default().to_owned() + &port
}

fn login(address: &Url) -> Option<HeaderValue> {
    let password = address.password()?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decoded(address.username()), decoded(password));
    HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()
}

fn credentials(url: &Url, header: &str) -> Result<Credentials> {
    let header = HeaderValue::try_from(header).map_err(|_| {
        Error::new(Kind::BadGateway, format!("{} gave a token that is not valid.", host(url)))
    })?;
    Ok(Credentials::new(url, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_in_their_usual_forms() {
        let bearer = |url: &str| Some(Challenge::Bearer(Url::parse(url).expect(url)));
        for (header, expected) in [
            (
                "Bearer realm=\"https://auth.example.org/token\",service=\"registry\",scope=\"repository:library/a:pull,push\"",
                bearer(
                    "https://auth.example.org/token?service=registry&scope=repository%3Alibrary%2Fa%3Apull%2Cpush",
                ),
            ),
            ("bearer  scope=\"a\", realm=\"https://h/t?x=1\"", bearer("https://h/t?x=1&scope=a")),
            ("Basic realm=\"registry\"", Some(Challenge::Basic)),
            ("Bearer service=\"registry\"", None),
            ("Bearer realm=\"", None),
            ("Bearer", None),
            ("Negotiate", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}

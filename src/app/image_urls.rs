//! Images that a request names by their URL. A server that fetches what its callers name can be turned against its own
//! network, so only public addresses of hosts in `IMAGE_URL_HOSTS` are asked, redirects included.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{self, Error, Kind},
    http_client::{Downloads, HeaderMap, HeaderValue, Url},
    images::{ImageLimits, Refusal},
};

/// Time for a server to begin its response, and then to finish it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Images that are in memory at once before they are decoded.
const MAX_AT_ONCE: usize = 8;

/// Hosts whose images may be fetched: `example.com`, `*.example.com` for those below it, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// # Errors
    /// Says what a pattern looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let host = pattern.strip_prefix("*.").unwrap_or(&pattern);
        let is_host = !host.is_empty()
            && host.split('.').all(|label| !label.is_empty())
            && host.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char));
        match pattern == "*" || is_host {
            true => Ok(Self(pattern)),
            false => Err(
                "must be host names such as images.example.com or *.example.com, separated by commas, or *"
                    .to_owned(),
            ),
        }
    }

    fn accepts(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        match self.0.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == self.0,
        }
    }
}

pub(super) struct ImageUrls {
    /// None if no host is allowed.
    downloads: Option<Downloads>,
    room: Arc<Semaphore>,
}

/// A file that was fetched, and its place among those in memory.
pub(super) type Fetched = (Bytes, OwnedSemaphorePermit);

impl ImageUrls {
    pub(super) fn new(hosts: &[HostPattern]) -> Self {
        let patterns = hosts.to_vec();
        let accepts = move |host: &str| patterns.iter().any(|pattern| pattern.accepts(host));
        let downloads = (!hosts.is_empty()).then(|| Downloads::public(accepts, PATIENCE));
        Self { downloads, room: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }

    /// Fetches the file at a URL.
    ///
    /// # Errors
    /// A refusal that says why it was not fetched.
    pub(super) async fn fetch(&self, url: &str, limits: &ImageLimits) -> Result<Fetched, Refusal> {
        let Some(downloads) = &self.downloads else {
            return Err(Refusal::not_fetched(
                "must be the image itself as base64; URLs are not fetched, unless IMAGE_URL_HOSTS allows their host",
            ));
        };
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("is never closed");
        let url = Url::parse(url).map_err(|_| Refusal::not_fetched("is not a valid URL"))?;
        let file = file(downloads, &url, limits).await.map_err(|error| {
            let why = error.message().trim_end_matches('.').to_owned();
            Refusal::not_fetched(format!("could not be fetched: {why}"))
        })?;
        Ok((file, permit))
    }
}

async fn file(downloads: &Downloads, url: &Url, limits: &ImageLimits) -> error::Result<Bytes> {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("image/*"));
    let download = downloads.get(url, &headers, None).await?;
    let (status, peer) = (download.status(), download.peer());
    if status != 200 {
        return Err(Error::new(Kind::BadGateway, format!("{peer} answered with status {status}.")));
    }
    download.bytes(limits.max_bytes, PATIENCE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_accept_their_hosts() {
        for (pattern, host, is_accepted) in [
            ("example.com", "example.com", true),
            (" Example.COM. ", "example.com", true),
            ("example.com", "example.com.", true),
            ("example.com", "www.example.com", false),
            ("example.com", "badexample.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*", "anything.example", true),
        ] {
            let pattern = HostPattern::parse(pattern).expect(pattern);
            assert_eq!(pattern.accepts(host), is_accepted, "{pattern:?} {host}");
        }
        for wrong in
            ["", "https://example.com", "example.com/images", "a..b", "*example.com", "a.*.b", "a:443"]
        {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_public_addresses_of_allowed_hosts_are_asked() {
        let limits = ImageLimits { max_bytes: 1000, max_pixels: 1000, max_side: 100 };
        let refusal = async |hosts: &[&str], url: &str| {
            let hosts: Vec<HostPattern> =
                hosts.iter().map(|host| HostPattern::parse(host).expect(host)).collect();
            let refusal = ImageUrls::new(&hosts).fetch(url, &limits).await.expect_err(url);
            refusal.at("/image").message().to_owned()
        };
        let closed = refusal(&[], "https://example.com/a.png").await;
        assert!(closed.contains("IMAGE_URL_HOSTS"), "{closed}");
        for (url, why) in [
            ("https://127.0.0.1/a.png", "has a private address"),
            ("https://[::1]/a.png", "has a private address"),
            ("https://[::ffff:10.0.0.1]/a.png", "has a private address"),
            ("https://169.254.169.254/latest/meta-data", "has a private address"),
            ("https://2130706433/a.png", "has a private address"),
            ("https://0x7f.1/a.png", "has a private address"),
            ("https://localhost/a.png", "has a private address"),
            ("http://example.com/a.png", "is not an https:// URL"),
        ] {
            let told = refusal(&["*"], url).await;
            assert!(told.contains("could not be fetched") && told.contains(why), "{url}: {told}");
        }
        let other = refusal(&["example.com"], "https://example.org/a.png").await;
        assert!(other.contains("is not allowed"), "{other}");
    }

    /// A server of images that is trusted in place of a public one.
    #[tokio::test]
    async fn what_a_server_answers_is_the_image_or_a_refusal() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                assert!(!request.to_ascii_lowercase().contains("authorization"), "{request}");
                let answer = match request.split(' ').nth(1) {
                    Some("/a.png") => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nimage".to_owned(),
                    Some("/large") => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}", "x".repeat(5000))
                    }
                    Some("/away") => {
                        "HTTP/1.1 302 Found\r\nlocation: https://10.0.0.1/\r\ncontent-length: 0\r\n\r\n"
                            .to_owned()
                    }
                    Some("/cut") => "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nimage".to_owned(),
                    _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let trusted = Url::parse(&origin).expect("a URL");
        let downloads = Downloads::new(&[trusted], "MODEL_REGISTRY", PATIENCE);
        let urls = ImageUrls { downloads: Some(downloads), room: Arc::new(Semaphore::new(1)) };
        let limits = ImageLimits { max_bytes: 1000, max_pixels: 1000, max_side: 100 };
        let (file, room) = urls.fetch(&format!("{origin}/a.png"), &limits).await.expect("an image");
        assert_eq!(&file[..], b"image");
        drop(room);
        for (path, why) in [
            ("/none", "answered with status 404"),
            ("/large", "sent more than"),
            ("/away", "has a private address"),
            ("/cut", "closed the connection mid-response"),
        ] {
            let refusal = urls.fetch(&format!("{origin}{path}"), &limits).await.expect_err(path);
            let told = refusal.at("/image").message().to_owned();
            assert!(told.contains(why), "{path}: {told}");
        }
    }
}

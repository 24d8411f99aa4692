//! Download of a blob's missing ranges, over several connections.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::future::try_join_all;
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use super::{Pace, partial::Partial, plan::RemoteFile, ranges::Part, session::Session};
use crate::{
    error::{Error, Kind, Result},
    http_client::{Download, HeaderMap, HeaderName, HeaderValue, Url},
    model_store::blobs::write_error,
};

/// Connections for one blob: enough for servers that limit the rate of each.
const CONNECTIONS: usize = 8;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Longest time that a registry may ask us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

const RANGE: HeaderName = HeaderName::from_static("range");

pub(super) struct Fetch<'a> {
    pub(super) session: &'a Session,
    pub(super) file: &'a RemoteFile,
    pub(super) partial: Arc<Partial>,
    pub(super) pace: &'a Pace,
    /// Called after bytes have been written.
    pub(super) written: &'a (dyn Fn() + Sync),
    location: Mutex<Location>,
}

/// Facts from the first response.
#[derive(Default)]
struct Location {
    /// Address of the blob after redirects, which may expire.
    url: Option<Url>,
    /// Part whose connection downloads everything, because the server ignores ranges.
    whole: Option<usize>,
}

/// Why an attempt failed.
enum Fault {
    /// Trying again does not help.
    Final(Error),
    Again {
        error: Error,
        after: Option<Duration>,
    },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::BadGateway | Kind::GatewayTimeout | Kind::Unavailable => Self::Again { error, after: None },
            _ => Self::Final(error),
        }
    }
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        session: &'a Session,
        file: &'a RemoteFile,
        partial: Arc<Partial>,
        pace: &'a Pace,
        written: &'a (dyn Fn() + Sync),
    ) -> Self {
        Self { session, file, partial, pace, written, location: Mutex::default() }
    }

    /// Downloads what is missing.
    pub(super) async fn run(&self) -> Result<()> {
        try_join_all((0..CONNECTIONS).map(|_| self.work())).await.map(drop)
    }

    async fn work(&self) -> Result<()> {
        while let Some(part) = self.partial.claim() {
            let done = self.with_retries(part).await;
            self.partial.release(part);
            done?;
            if !self.partial.part(part.index).is_empty() {
                // Another connection downloads everything.
                break;
            }
        }
        Ok(())
    }

    async fn with_retries(&self, part: Part) -> Result<()> {
        let mut failures = 0;
        loop {
            let before = self.partial.completed();
            let (error, after) = match self.attempt(self.partial.part(part.index)).await {
                Ok(()) => return Ok(()),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again { error, after }) => (error, after),
            };
            // While the download as a whole goes on, however slowly, it does not fail.
            let has_progressed = self.partial.completed() - before >= self.pace.least_bytes;
            failures = if has_progressed { 1 } else { failures + 1 };
            if failures >= self.pace.attempts {
                return Err(error);
            }
            tracing::debug!(host = self.session.host(), "A download is tried again: {}", error.chain());
            let backoff = self.pace.backoff.saturating_mul(1 << (failures - 1).min(16));
            let backoff = after.unwrap_or(backoff.min(self.pace.longest_backoff));
            // Connections that broke together do not come back together.
            sleep(backoff.mul_f64(rand::random_range(0.75..1.25))).await;
        }
    }

    async fn attempt(&self, part: Part) -> Result<(), Fault> {
        let Some(mut response) = self.open(part).await? else { return Ok(()) };
        let (start, end) = match response.status() {
            206 => (part.start, part.end),
            // The server has ignored the range.
            _ => (0, self.file.layer.size),
        };
        self.check_length(&response)?;
        let mut writer = Writer { fetch: self, at: start, buffer: BytesMut::new() };
        let received = self.receive(&mut response, &mut writer, end).await;
        // What has arrived before a failure is kept.
        writer.flush().await?;
        received
    }

    /// Requests a part. All connections wait for the first one to learn where the registry keeps the blob. `None`
    /// when another connection downloads everything.
    async fn open(&self, part: Part) -> Result<Option<Download>, Fault> {
        let mut location = self.location.lock().await;
        if location.whole.is_some_and(|index| index != part.index) {
            return Ok(None);
        }
        let Some(url) = location.url.clone() else {
            let response = self.checked(self.session.get(&self.file.url, &range(part)).await?)?;
            location.url = Some(response.url().clone());
            location.whole = (response.status() == 200).then_some(part.index);
            return Ok(Some(response));
        };
        drop(location);
        let response = self.session.get(&url, &range(part)).await?;
        if url != self.file.url && matches!(response.status(), 400..=404 | 410) {
            // It has expired.
            self.location.lock().await.url.take_if(|known| *known == url);
            let message = format!("{} refuses a download.", self.session.host());
            let error =
                Error::new(Kind::Unavailable, message).with_source(format!("status {}", response.status()));
            return Err(Fault::Again { error, after: Some(Duration::ZERO) });
        }
        self.checked(response).map(Some)
    }

    fn checked(&self, response: Download) -> Result<Download, Fault> {
        let (host, digest) = (self.session.host(), &self.file.layer.digest);
        let is_ours = self.session.is_same_origin(response.url());
        let what = |what: &str| format!("{host} {what} (status {}).", response.status());
        let after =
            response.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let error = match response.status() {
            200 | 206
                if response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) =>
            {
                return Err(Fault::Final(Error::new(
                    Kind::BadGateway,
                    what("sent a web page instead of a file"),
                )));
            }
            200 | 206 => return Ok(response),
            404 | 410 => Error::new(Kind::NotFound, what("does not have a file of the model")),
            401 | 403 if is_ours => {
                let advice = self.session.advice();
                Error::new(Kind::Forbidden, format!("{host} denies access to a file of the model; {advice}."))
            }
            416 => return Err(Fault::Final(self.wrong_size("shorter"))),
            408 | 425 | 429 | 500.. | 401 | 403 => Error::new(Kind::Unavailable, what("refuses a download")),
            _ => Error::new(Kind::Invalid, what("refuses a download")),
        };
        let error = error.with_source(digest.to_string());
        match Fault::from(error) {
            Fault::Again { error, .. } => {
                Err(Fault::Again { error, after: after.map(|after| after.min(MAX_RETRY_AFTER)) })
            }
            fault => Err(fault),
        }
    }

    /// Compares the length that the response states with that of the manifest.
    fn check_length(&self, response: &Download) -> Result<(), Fault> {
        let stated = match response.status() {
            206 => {
                response.header("content-range").and_then(|range| range.rsplit_once('/')).map(|(_, all)| all)
            }
            _ => response.header("content-length"),
        };
        let Some(stated) = stated.and_then(|stated| stated.trim().parse::<u64>().ok()) else { return Ok(()) };
        match stated.cmp(&self.file.layer.size) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(Fault::Final(self.wrong_size("shorter"))),
            Ordering::Greater => Err(Fault::Final(self.wrong_size("longer"))),
        }
    }

    fn wrong_size(&self, how: &str) -> Error {
        let (host, size) = (self.session.host(), self.file.layer.size);
        let message = format!("{host} has a file that is {how} than the {size} bytes that it announced.");
        Error::new(Kind::BadGateway, message).with_source(self.file.layer.digest.to_string())
    }

    /// Reads a body that goes up to `end`, as long as it comes fast enough.
    async fn receive(&self, response: &mut Download, writer: &mut Writer<'_>, end: u64) -> Result<(), Fault> {
        let host = response.peer().to_owned();
        let (mut window_end, mut in_window) = (Instant::now() + self.pace.window, 0);
        loop {
            let chunk = match timeout_at(window_end, response.chunk()).await {
                Ok(chunk) => chunk?,
                Err(_) if in_window >= self.pace.least_bytes => {
                    (window_end, in_window) = (Instant::now() + self.pace.window, 0);
                    continue;
                }
                Err(_) => {
                    let seconds = self.pace.window.as_secs_f32();
                    let message = format!("{host} sent only {in_window} bytes of a file in {seconds} s.");
                    return Err(Error::new(Kind::GatewayTimeout, message).into());
                }
            };
            let Some(chunk) = chunk else {
                if writer.next() < end {
                    let message = format!("{host} ended a file early.");
                    return Err(Error::new(Kind::BadGateway, message).into());
                }
                return Ok(());
            };
            if writer.next() + chunk.len() as u64 > end {
                return Err(Fault::Final(self.wrong_size("longer")));
            }
            in_window += chunk.len() as u64;
            writer.push(&chunk).await?;
        }
    }
}

/// Collects bytes for larger writes.
struct Writer<'a> {
    fetch: &'a Fetch<'a>,
    /// Offset in the blob of the buffer's first byte.
    at: u64,
    buffer: BytesMut,
}

impl Writer<'_> {
    /// Offset of the next byte.
    fn next(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    async fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (partial, at, bytes) = (Arc::clone(&self.fetch.partial), self.at, self.buffer.split());
        self.at += bytes.len() as u64;
        let written = spawn_blocking(move || partial.write(at, &bytes).map(|()| bytes)).await;
        let written = written.map_err(|source| {
            Error::new(Kind::Internal, "A download could not be written.").with_source(source)
        })?;
        let mut bytes = written.map_err(|error| write_error(self.fetch.partial.path(), error))?;
        (self.fetch.written)();
        // Reuses its memory.
        bytes.clear();
        self.buffer = bytes;
        Ok(())
    }
}

fn range(part: Part) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Digits and punctuation are always a valid value.
    if let Ok(value) =
        HeaderValue::try_from(format!("bytes={}-{}", part.start, (part.end - 1).max(part.start)))
    {
        headers.insert(RANGE, value);
    }
    headers
}

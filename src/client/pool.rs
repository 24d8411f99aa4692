//! Connections to one server over plain TCP or a unix socket, kept for the next request.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::Incoming,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::{self, Handle},
    time::timeout,
};

use super::exchange::{Exchange, Failed};

/// How long an unused connection is kept.
const KEPT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    address: Address,
    host: HeaderValue,
    connect_timeout: Duration,
    idle: Mutex<HashMap<runtime::Id, Idle>>,
}

/// Connections that wait, by the runtime that looks after them: elsewhere each of their bytes would be
/// news from another thread. The one used last is at the end.
type Idle = VecDeque<(Instant, Box<Exchange>)>;

pub(super) enum Error {
    Connect(io::Error),
    Broken(hyper::Error),
}

/// An answer whose body is still to come. Dropping it while more is to come closes the connection.
pub(super) struct Answer {
    pub(super) status: u16,
    body: Incoming,
    exchange: Option<Box<Exchange>>,
    pool: Pool,
}

impl Pool {
    pub(super) fn new(address: Address, host: HeaderValue, connect_timeout: Duration) -> Self {
        Self(Arc::new(Shared { address, host, connect_timeout, idle: Mutex::default() }))
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: Uri,
        mut headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Error> {
        headers.insert(HOST, self.0.host.clone());
        let mut request = Request::new(Full::from(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = path;
        *request.headers_mut() = headers;
        while let Some(mut exchange) = self.take() {
            match exchange.send(request).await {
                Ok(response) => return Ok(self.answer(response, exchange)),
                // The server has closed it while it was not used.
                Err(failed) => match *failed {
                    Failed { unsent: Some(unsent), .. } => request = unsent,
                    Failed { error, .. } => return Err(Error::Broken(error)),
                },
            }
        }
        let mut exchange = self.connect().await?;
        match exchange.send(request).await {
            Ok(response) => Ok(self.answer(response, exchange)),
            Err(failed) => Err(Error::Broken(failed.error)),
        }
    }

    fn answer(&self, response: Response<Incoming>, exchange: Box<Exchange>) -> Answer {
        let (head, body) = response.into_parts();
        Answer { status: head.status.as_u16(), body, exchange: Some(exchange), pool: self.clone() }
    }

    async fn connect(&self) -> Result<Box<Exchange>, Error> {
        let stream: Box<dyn super::exchange::Io> = timeout(self.0.connect_timeout, self.open())
            .await
            .map_err(|_| Error::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(Error::Connect)?;
        Exchange::new(stream).await.map(Box::new).map_err(Error::Broken)
    }

    async fn open(&self) -> io::Result<Box<dyn super::exchange::Io>> {
        Ok(match &self.0.address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(TokioIo::new(stream))
            }
            Address::Unix(path) => Box::new(TokioIo::new(UnixStream::connect(path).await?)),
        })
    }

    fn take(&self) -> Option<Box<Exchange>> {
        let runtime = Handle::current().id();
        loop {
            // The lock is not held while a connection is looked at.
            let (since, mut exchange) = self.idle().get_mut(&runtime)?.pop_back()?;
            if since.elapsed() < KEPT && exchange.is_usable() {
                return Some(exchange);
            }
        }
    }

    fn give_back(&self, mut exchange: Box<Exchange>) {
        // llama-server closes a connection after each streamed reply without announcing it, and a
        // request sent on such a connection is lost; a new one over a socket costs little.
        if matches!(self.0.address, Address::Unix(_)) || !exchange.is_usable() {
            return;
        }
        // Without a runtime the server is at its end.
        let Ok(runtime) = Handle::try_current() else { return };
        let now = Instant::now();
        let mut idle = self.idle();
        let idle = idle.entry(runtime.id()).or_default();
        while idle.front().is_some_and(|(since, _)| now.duration_since(*since) >= KEPT) {
            idle.pop_front();
        }
        idle.push_back((now, exchange));
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<runtime::Id, Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    pub(super) async fn chunk(&mut self) -> hyper::Result<Option<Bytes>> {
        let Some(exchange) = &mut self.exchange else { return Ok(None) };
        let data = exchange.data(&mut self.body).await.transpose()?;
        if data.is_none() {
            self.finish();
        }
        Ok(data)
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            self.pool.give_back(exchange);
        }
    }
}

impl Drop for Answer {
    /// Who has read what matters does not wait for the end of the body; it is nearly always there.
    fn drop(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        let ended = {
            let end = std::pin::pin!(exchange.data(&mut self.body));
            matches!(end.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(None))
        };
        if ended {
            self.finish();
        }
    }
}

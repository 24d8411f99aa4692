//! Connections to one server over plain TCP or a unix socket, kept for the next request.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use reqwest::header::HeaderValue;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::{self, Handle},
    time::timeout,
};
use tokio_util::either::Either;

use super::{
    connection::{Connection, Outgoing},
    request::{Request, Retry},
};

/// Idle time after which a connection is closed.
const EVICT_IDLE_AFTER: Duration = Duration::from_secs(30);
/// Time within which a reset means that the connection had been closed before the request: more than a
/// round trip around the world. A later one may have been caused by the request.
const STALE_CONNECTION_WINDOW: Duration = Duration::from_secs(1);
/// Timeout for the end of a body whose content has been read.
const BODY_END_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Idle connections, by runtime: in another one, each of their bytes would cross threads. The one used last is
/// at the end.
type Idle = VecDeque<(Instant, Box<Connection>)>;

pub(super) enum Error {
    Connect(io::Error),
    Broken(io::Error),
}

/// A response whose body is still to come. Dropping it before its end closes the connection.
pub(super) struct Answer {
    pub(super) status: u16,
    connection: Option<Box<Connection>>,
    pool: Pool,
}

impl Pool {
    pub(super) fn new(address: Address, host: HeaderValue, connect_timeout: Duration) -> Self {
        Self(Arc::new(Shared { address, host, connect_timeout, idle: Mutex::default() }))
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        let kept = if request.retry == Retry::Idempotent { self.take() } else { None };
        let request = Outgoing::new(request, &self.0.host).map_err(Error::Broken)?;
        if let Some(mut connection) = kept {
            let since = Instant::now();
            match connection.send(&request).await {
                // It was idle for too long, and the server did not read this request.
                Ok(408) => {}
                Ok(status) => return Ok(self.answer(status, connection)),
                // It was probably being closed because it was idle.
                Err(error) if connection.was_closed(&error) && since.elapsed() < STALE_CONNECTION_WINDOW => {}
                Err(error) => return Err(Error::Broken(error)),
            }
        }
        let mut connection = Box::new(self.connect().await.map_err(Error::Connect)?);
        match connection.send(&request).await {
            Ok(status) => Ok(self.answer(status, connection)),
            Err(error) => Err(Error::Broken(error)),
        }
    }

    fn answer(&self, status: u16, connection: Box<Connection>) -> Answer {
        Answer { status, connection: Some(connection), pool: self.clone() }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let open = async {
            Ok(match &self.0.address {
                Address::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Either::Left(stream)
                }
                Address::Unix(path) => Either::Right(UnixStream::connect(path).await?),
            })
        };
        timeout(self.0.connect_timeout, open).await?.map(Connection::new)
    }

    fn take(&self) -> Option<Box<Connection>> {
        let runtime = Handle::current().id();
        loop {
            // The lock is not held while a connection is checked.
            let (since, connection) = self.idle().get_mut(&runtime)?.pop_back()?;
            if since.elapsed() < EVICT_IDLE_AFTER && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// llama-server closes a connection after each streamed reply without announcing it, and a request
    /// sent on such a connection is lost; a new one over a socket costs little.
    fn keeps_connections(&self) -> bool {
        matches!(self.0.address, Address::Tcp { .. })
    }

    fn give_back(&self, connection: Box<Connection>) {
        if !self.keeps_connections() || !connection.is_reusable() {
            return;
        }
        // Without a runtime the server is shutting down.
        let Ok(runtime) = Handle::try_current() else { return };
        let now = Instant::now();
        let mut idle = self.idle();
        let idle = idle.entry(runtime.id()).or_default();
        while idle.front().is_some_and(|(since, _)| now.duration_since(*since) >= EVICT_IDLE_AFTER) {
            idle.pop_front();
        }
        idle.push_back((now, connection));
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<runtime::Id, Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    pub(super) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let data = connection.data().await?;
        if data.is_none()
            && let Some(connection) = self.connection.take()
        {
            self.pool.give_back(connection);
        }
        Ok(data)
    }

    /// Returns the connection to the pool when the body ends, once the caller has read all that it needs. The
    /// end has nearly always arrived already, or comes in a moment, for which a task of its own waits.
    pub(super) fn finish(mut self) {
        if !self.pool.keeps_connections() {
            return;
        }
        let mut rest = Box::pin(async move { while let Ok(Some(_)) = self.chunk().await {} });
        if rest.as_mut().now_or_never().is_none() {
            tokio::spawn(timeout(BODY_END_TIMEOUT, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Connection and path of each request that has arrived.
    type Seen = Arc<Mutex<Vec<(usize, String)>>>;

    /// Answers the first request of each connection unless its path is `/lost`, and closes at any other.
    async fn serve(listener: TcpListener, seen: Seen) {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                for first in [true, false] {
                    let mut request = vec![0; 1024];
                    let length = stream.read(&mut request).await.expect("a request");
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let Some(path) = text.split(' ').nth(1) else { return };
                    seen.lock().expect("no panic").push((number, path.to_owned()));
                    if !first || path == "/lost" {
                        return;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!";
                    stream.write_all(answer).await.expect("a reader");
                }
            });
        }
    }

    #[tokio::test]
    async fn only_what_may_arrive_twice_is_sent_on_a_kept_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Seen::default();
        tokio::spawn(serve(listener, Arc::clone(&seen)));
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
        let pool = Pool::new(address, HeaderValue::from_static("h"), Duration::from_secs(30));
        for (path, retry, answered) in [
            ("/1", Retry::Idempotent, true),
            ("/2", Retry::Never, true),
            ("/3", Retry::Idempotent, true),
            ("/lost", Retry::Never, false),
        ] {
            let answer = pool.send(Request { retry, ..Request::get(path) }).await;
            assert_eq!(answer.is_ok(), answered, "{path}");
            if let Ok(mut answer) = answer {
                while answer.chunk().await.expect("a body").is_some() {}
            }
        }
        let paths = [(0, "/1"), (1, "/2"), (1, "/3"), (2, "/3"), (3, "/lost")];
        assert_eq!(*seen.lock().expect("no panic"), paths.map(|(number, path)| (number, path.to_owned())));
    }
}

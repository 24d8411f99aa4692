//! A thread that serves connections. Each has a runtime of its own, so that what belongs to one
//! request (its client's connection, its backend's, and every wakeup between them) stays on one
//! core: no thread is woken to steal what is already being done (see docs/adr/0011).

use std::{
    convert::Infallible,
    net,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::{
    connection::HEAD_LIMIT,
    connections::{Order, Place},
    exchange,
    socket::Socket,
};
use crate::error::{Error, Kind, Result};

/// Time for a request's head. A connection that says nothing is closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Dependencies of every worker.
#[derive(Clone)]
pub(in crate::http) struct Work {
    pub(in crate::http) router: Router,
    /// Until then a worker that has nothing left to serve stays: a reply that began with it may be
    /// read by others, too.
    pub(in crate::http) all_served: CancellationToken,
}

/// A connection on its way to the thread that serves it.
type Accepted = (net::TcpStream, Place);

/// Dropping it ends the thread, once `all_served` is cancelled.
pub(in crate::http) struct Worker {
    inbox: mpsc::UnboundedSender<Accepted>,
    /// Connections that have been given to it and are not closed.
    open: Arc<AtomicUsize>,
    served: oneshot::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// # Errors
    /// `Setup` when the system gives no thread or no file descriptors for one.
    pub(in crate::http) fn start(number: usize, work: Work) -> Result<Self> {
        let refused = |source| {
            Error::new(Kind::Setup, "The system does not allow any more threads.").with_source(source)
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let (inbox, connections) = mpsc::unbounded_channel();
        let (tell, served) = oneshot::channel();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        let thread = thread::Builder::new()
            .name(format!("http-{number}"))
            .spawn(move || {
                runtime.block_on(async {
                    serve(&work, connections, &count).await;
                    // The receiver has timed out.
                    let _ = tell.send(());
                    work.all_served.cancelled().await;
                });
                // No task waits for what still runs on blocking threads.
                runtime.shutdown_background();
            })
            .map_err(refused)?;
        Ok(Self { inbox, open, served, thread })
    }

    pub(in crate::http) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Hands a connection over; it is closed when the thread is gone.
    pub(in crate::http) fn take(&self, connection: net::TcpStream, place: Place) {
        self.open.fetch_add(1, Relaxed);
        if self.inbox.send((connection, place)).is_err() {
            tracing::error!("a connection thread has ended unexpectedly");
        }
    }

    /// Takes no more connections; gives what completes when all are closed, and the thread.
    pub(in crate::http) fn finish(self) -> (oneshot::Receiver<()>, thread::JoinHandle<()>) {
        (self.served, self.thread)
    }
}

async fn serve(work: &Work, mut inbox: mpsc::UnboundedReceiver<Accepted>, open: &Arc<AtomicUsize>) {
    let tasks = TaskTracker::new();
    let beat = tokio::spawn(beat());
    while let Some((stream, place)) = inbox.recv().await {
        let closed = Closed(Arc::clone(open));
        // Fails when there is no memory for one more; the client sees a closed connection.
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let router = work.router.clone();
        tasks.spawn(async move {
            let _closed = closed;
            serve_connection(stream, Arc::new(place), router).await;
        });
    }
    tasks.close();
    tasks.wait().await;
    beat.abort();
}

async fn serve_connection(stream: TcpStream, place: Arc<Place>, router: Router) {
    let connection = Arc::clone(&place.connection);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let connection = Arc::clone(&connection);
        // Begun before it is waited for: hyper reads on at once.
        let answered = router.clone().call(exchange::begin(request, &connection));
        async move { Ok::<_, Infallible>(exchange::reply(answered.await?, connection)) }
    });
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&place)));
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(HEAD_LIMIT)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(socket, service)
    );
    loop {
        tokio::select! {
            // A connection's own errors are the client's: it left, or spoke no HTTP.
            _ = &mut serving => return,
            () = place.connection.notified() => match place.order() {
                Order::Close => return,
                Order::Finish => serving.as_mut().graceful_shutdown(),
                Order::GoOn => {}
            }
        }
    }
}

/// A timer that is sooner than any other that a request may set: setting one that is the next to come
/// is a call of the system, and most requests would.
async fn beat() {
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
    }
}

/// One connection less.
struct Closed(Arc<AtomicUsize>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

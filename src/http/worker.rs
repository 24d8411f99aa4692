//! A thread that serves connections. Each has a runtime of its own, so that what belongs to one
//! request (its client's connection, its backend's, and every wakeup between them) stays on one
//! core: no thread is woken to steal what is already being done (see docs/adr/0011).

use std::{
    net,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::{Error, Kind, Result},
    telemetry::logs,
};

/// Time for a request's head. A connection that says nothing is closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(1);

/// What every worker needs.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) router: Router,
    /// How long running replies may go on when no more connections come.
    pub(super) grace: Duration,
    /// Until then a worker that has nothing left to serve stays: a reply that began with it may be
    /// read by others, too.
    pub(super) all_served: CancellationToken,
}

/// Dropping it ends the thread, once `all_served` is cancelled.
pub(super) struct Worker {
    inbox: mpsc::UnboundedSender<net::TcpStream>,
    /// Connections that have been given to it and are not closed.
    open: Arc<AtomicUsize>,
    served: oneshot::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// # Errors
    /// `Setup` when the system gives no thread or no file descriptors for one.
    pub(super) fn start(number: usize, work: Work) -> Result<Self> {
        let refused = |source| Error::new(Kind::Setup, "The system gives no more threads.").because(source);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(logs::catch_up)
            .build()
            .map_err(refused)?;
        let (inbox, connections) = mpsc::unbounded_channel();
        let (tell, served) = oneshot::channel();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        let thread = thread::Builder::new()
            .name(format!("http-{number}"))
            .spawn(move || {
                logs::put_off();
                runtime.block_on(async {
                    serve(&work, connections, &count).await;
                    // Whoever waited for it has given up.
                    let _ = tell.send(());
                    work.all_served.cancelled().await;
                });
                // What still runs on a blocking thread has nobody who waits for it.
                runtime.shutdown_background();
                logs::catch_up();
            })
            .map_err(refused)?;
        Ok(Self { inbox, open, served, thread })
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Hands a connection over; it is closed when the thread is gone.
    pub(super) fn take(&self, connection: net::TcpStream) {
        self.open.fetch_add(1, Relaxed);
        if self.inbox.send(connection).is_err() {
            tracing::error!("a thread that serves connections has ended");
        }
    }

    /// Takes no more connections; gives what completes when all are closed, and the thread.
    pub(super) fn finish(self) -> (oneshot::Receiver<()>, thread::JoinHandle<()>) {
        (self.served, self.thread)
    }
}

async fn serve(work: &Work, mut inbox: mpsc::UnboundedReceiver<net::TcpStream>, open: &Arc<AtomicUsize>) {
    let connections = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    tasks.spawn(beat(abort.clone()));
    while let Some(stream) = inbox.recv().await {
        let closed = Closed(Arc::clone(open));
        // Fails when there is no memory for one more; the client sees a closed connection.
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(work.router.clone()));
        let connection = connections.watch(connection);
        let abort = abort.clone();
        tasks.spawn(async move {
            let _closed = closed;
            // A connection's own errors are the client's: it left, or spoke no HTTP.
            tokio::select! {
                _ = connection => {}
                () = abort.cancelled() => {}
            }
        });
    }
    if tokio::time::timeout(work.grace, connections.shutdown()).await.is_err() {
        tracing::warn!("replies were still running after {} s and are cut off", work.grace.as_secs());
    }
    abort.cancel();
    tasks.close();
    tasks.wait().await;
}

/// A timer that is sooner than any other that a request may set: setting one that is the next to come
/// is a call of the system, and most requests would.
async fn beat(until: CancellationToken) {
    while tokio::time::timeout(BEAT, until.cancelled()).await.is_err() {}
}

/// One connection less.
struct Closed(Arc<AtomicUsize>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

//! Accepting connections and handing them to the threads that serve them, and ending in order.

mod connection;
mod connections;
mod exchange;
mod socket;
mod worker;

use std::{future::Future, net::SocketAddr, num::NonZeroUsize, pin::pin, sync::Arc, thread, time::Duration};

use axum::Router;
use futures_util::future::join_all;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::connections::ConnectionLimits;
use self::{
    connections::Connections,
    worker::{Work, Worker},
};
use crate::{error::Result, http::warning::Warning};

/// How long a peer may leave sent bytes unacknowledged or its window closed: a client that has
/// stopped reading must not hold a model's slot for ever.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Time between two looks, while the server ends, for clients that do not read.
const STOP_INTERVAL: Duration = Duration::from_secs(1);

/// Time for the last words of what is cut off.
const CUTOFF_TIMEOUT: Duration = Duration::from_secs(2);

/// For an address that has all the connections that one may have.
const REFUSAL: &str = "HTTP/1.1 429 Too Many Requests\r
content-type: application/problem+json\r
content-length: 146\r
retry-after: 5\r
connection: close\r
\r
{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"Too many connections from this address; close some, or try again later.\"}";

/// How much is served at once, and how it ends.
pub struct Bounds {
    pub connections: ConnectionLimits,
    /// Time for running replies to finish.
    pub grace: Duration,
    /// Cancelled after it: what still runs then says that the server is shutting down, and ends.
    pub cutoff: CancellationToken,
}

/// Serves on one thread for each core until `stop` completes. Then it takes no more connections,
/// closes those that have no request, and returns when all replies have ended.
///
/// # Errors
/// `Setup` when the system does not give the threads.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    bounds: Bounds,
) -> Result<()> {
    let work = Work { router, all_served: CancellationToken::new() };
    // Whatever happens, no thread stays behind.
    let all_served = work.all_served.clone().drop_guard();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = (0..cores).map(|number| Worker::start(number, work.clone())).collect::<Result<Vec<_>>>()?;
    let connections = Connections::new(bounds.connections);
    let _abort = AbortOnDrop(Arc::clone(&connections));
    tokio::select! {
        () = stop => {}
        () = accept(&listener, &workers, &connections) => {}
    }
    drop(listener);
    let (served, threads): (Vec<_>, Vec<_>) = workers.into_iter().map(Worker::finish).unzip();
    end(&connections, &bounds, join_all(served)).await;
    drop(all_served);
    let ended = move || threads.into_iter().for_each(|thread| drop(thread.join()));
    // An error would be a panic's, which has been told.
    let _ = tokio::task::spawn_blocking(ended).await;
    Ok(())
}

/// Nor any connection when the server is dropped while it runs.
struct AbortOnDrop(Arc<Connections>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until all is served, and cuts off what takes too long.
async fn end(connections: &Connections, bounds: &Bounds, served: impl Future) {
    let mut served = pin!(served);
    // Again and again: a client may stop reading its reply at any time.
    let stopping = async {
        loop {
            connections.stop();
            sleep(STOP_INTERVAL).await;
        }
    };
    tokio::select! {
        _ = &mut served => return,
        () = sleep(bounds.grace) => {}
        () = stopping => {}
    }
    tracing::warn!("requests were still running after {} s and are cut off", bounds.grace.as_secs());
    bounds.cutoff.cancel();
    if timeout(CUTOFF_TIMEOUT, &mut served).await.is_err() {
        connections.abort();
        served.await;
    }
}

async fn accept(listener: &TcpListener, workers: &[Worker], connections: &Arc<Connections>) {
    let failed = Warning::new("accepting a connection failed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Meanwhile further ones wait in the system's line.
                connections.free_place().await;
                hand_over(stream, address, workers, connections);
            }
            Err(error) => {
                // Out of file descriptors, mostly: closing connections frees some.
                failed.occurred(error);
                connections.close_one().await;
            }
        }
    }
}

fn hand_over(stream: TcpStream, address: SocketAddr, workers: &[Worker], connections: &Arc<Connections>) {
    let Some(place) = connections.admit(address.ip()) else {
        // Best effort: an operator with a hundred connections need not see it for each.
        let _ = stream.try_write(REFUSAL.as_bytes());
        return;
    };
    tune(&stream);
    // Fails when the system is out of memory; the client sees a closed connection.
    let Ok(stream) = stream.into_std() else { return };
    if let Some(least_busy) = workers.iter().min_by_key(|worker| worker.open()) {
        least_busy.take(stream, place);
    }
}

fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    // Best effort: a socket without these options still works.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT));
}

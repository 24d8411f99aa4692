//! Accepting connections and handing them to the threads that serve them, and ending in order.

use std::{future::Future, num::NonZeroUsize, pin::pin, thread, time::Duration};

use axum::Router;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::worker::{Work, Worker};
use crate::error::Result;

/// How long a peer may leave sent bytes unacknowledged or its window closed: a client that has
/// stopped reading must not hold a model's slot for ever.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves on one thread for each core until `stop` completes, then takes no more connections, lets
/// running replies finish for `grace` at most, and returns. What is still open then is closed.
///
/// # Errors
/// `Setup` when the system does not give the threads.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> Result<()> {
    let work = Work { router, grace, all_served: CancellationToken::new() };
    // Whatever happens, no thread stays behind.
    let all_served = work.all_served.clone().drop_guard();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = (0..cores).map(|number| Worker::start(number, work.clone())).collect::<Result<Vec<_>>>()?;
    accept(&listener, &workers, stop).await;
    drop(listener);
    let ending: Vec<_> = workers.into_iter().map(Worker::finish).collect();
    let mut threads = Vec::new();
    for (served, thread) in ending {
        // An error says that the thread is gone, and its connections with it.
        let _ = served.await;
        threads.push(thread);
    }
    drop(all_served);
    let ended = move || threads.into_iter().for_each(|thread| drop(thread.join()));
    // An error would be a panic's, which has been told.
    let _ = tokio::task::spawn_blocking(ended).await;
    Ok(())
}

async fn accept(listener: &TcpListener, workers: &[Worker], stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.and_then(|(stream, _)| {
                tune(&stream);
                stream.into_std()
            }),
            () = &mut stop => return,
        };
        match accepted {
            Ok(connection) => {
                if let Some(least_busy) = workers.iter().min_by_key(|worker| worker.open()) {
                    least_busy.take(connection);
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: closing connections will free some.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
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

//! Connections: accepting them, bounding how long a silent one may stay, and ending them in order.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::turns::in_turns;

/// Time for a request's head. A connection that says nothing is closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer may leave sent bytes unacknowledged or its window closed: a client that has
/// stopped reading must not hold a model's slot for ever.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until `stop` completes, then takes no more connections, lets running replies finish for
/// `grace` at most, and returns. What is still open then is closed.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>, grace: Duration) {
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: closing connections will free some.
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        tune(&stream);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = connections.watch(connection);
        let abort = abort.clone();
        tasks.spawn(in_turns(async move {
            // A connection's own errors are the client's: it left, or spoke no HTTP.
            tokio::select! {
                _ = connection => {}
                () = abort.cancelled() => {}
            }
        }));
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!("replies were still running after {} s and are cut off", grace.as_secs());
    }
    abort.cancel();
    tasks.close();
    tasks.wait().await;
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

//! A way to a Redis that can be blocked or cut while the Redis itself goes on for others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::server::free_port;

pub struct Relay {
    port: u16,
    held: watch::Sender<bool>,
    cuts: watch::Sender<u32>,
    accepted: Arc<AtomicUsize>,
}

impl Relay {
    pub async fn start(to: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (held, cuts) = (watch::Sender::new(false), watch::Sender::new(0));
        let (holding, cutting) = (held.subscribe(), cuts.subscribe());
        let accepted: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                let (holding, mut cutting) = (holding.clone(), cutting.clone());
                cutting.mark_unchanged();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = copy(from_client, to_server, holding.clone()) => {}
                        () = copy(from_server, to_client, holding) => {}
                        _ = cutting.changed() => {}
                    }
                });
            }
        });
        Self { port, held, cuts, accepted }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Number of connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }

    /// Holds back whatever is said, in both directions, or lets it go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Closes the connections there are.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut held: watch::Receiver<bool>,
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let goes_on = held.wait_for(|held| !held).await.is_ok();
        if !goes_on || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

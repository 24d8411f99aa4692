//! A way to a registry that counts what it sends, and holds it back after some bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{eventually::eventually, harness::DEADLINE};

pub struct Relay {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
    limit: watch::Sender<u64>,
    cuts: watch::Sender<u32>,
}

impl Relay {
    pub async fn start(to: u16, limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passed, limit) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(limit));
        let cuts = watch::Sender::new(0);
        let (counter, limits, cutting) = (Arc::clone(&passed), limit.subscribe(), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counter, limits, mut cutting) = (Arc::clone(&counter), limits.clone(), cutting.clone());
                cutting.mark_unchanged();
                tokio::spawn(async move {
                    // A registry that is down closes the connection.
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let (mut from_client, to_client) = client.into_split();
                    let (from_server, mut to_server) = server.into_split();
                    tokio::select! {
                        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                        () = copy(from_server, to_client, counter, limits) => {}
                        _ = cutting.changed() => {}
                    }
                });
            }
        });
        Self { address, passed, limit, cuts }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that the registry has sent.
    pub fn passed(&self) -> u64 {
        self.passed.load(SeqCst)
    }

    /// Closes the connections that there are.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets everything pass, and counts anew.
    pub fn open(&self) {
        self.allow(u64::MAX);
    }

    /// Lets so many bytes pass, and counts anew.
    pub fn allow(&self, bytes: u64) {
        self.passed.store(0, SeqCst);
        self.limit.send_replace(bytes);
    }

    /// Waits until no more may pass.
    pub async fn is_full(&self) {
        let limit = *self.limit.borrow();
        eventually(DEADLINE, "the limit is reached", async || self.passed() >= limit).await;
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    counter: Arc<AtomicU64>,
    mut limits: watch::Receiver<u64>,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let before = counter.fetch_add(length as u64, SeqCst);
        if limits.wait_for(|limit| before < *limit).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}

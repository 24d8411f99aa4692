//! Scripted Qdrant: the part of its gRPC API that Simpleton uses, over data in memory that survives a stop.

mod collections;
mod filter;
mod points;
mod store;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use qdrant_client::qdrant::{collections_server::CollectionsServer, points_server::PointsServer};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use self::store::Store;

/// Request that is never answered, as when a server stops in the middle of it.
#[derive(Clone, Copy)]
pub struct Halt {
    /// Number of the request, from 0; the ones after it are not answered either.
    pub at: usize,
    /// Whether the request still changes the data.
    pub is_applied: bool,
}

#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    requests: AtomicUsize,
    halt: Mutex<Option<Halt>>,
    has_halted: Notify,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Answers a request, unless the server has halted.
    async fn answer<T>(
        &self,
        apply: impl FnOnce(&mut Store) -> Result<T, Status> + Send,
    ) -> Result<Response<T>, Status> {
        let number = self.requests.fetch_add(1, Ordering::AcqRel);
        let halt = *self.halt.lock().unwrap();
        match halt {
            Some(halt) if number >= halt.at => {
                if number == halt.at && halt.is_applied {
                    let _ = apply(&mut self.store());
                }
                self.has_halted.notify_one();
                std::future::pending().await
            }
            _ => Ok(Response::new(apply(&mut self.store())?)),
        }
    }
}

pub struct Qdrant {
    shared: Arc<Shared>,
    key: Option<&'static str>,
    address: SocketAddr,
    /// Apart from the test's, so that it ends with all of its connections. None while it is stopped.
    runtime: Option<Runtime>,
}

impl Qdrant {
    pub async fn start(key: Option<&'static str>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut qdrant = Self { shared: Arc::default(), key, address, runtime: None };
        qdrant.restart().await;
        qdrant
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends at once, with all connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts again at the same address, with the data that it had.
    pub async fn restart(&mut self) {
        self.stop();
        self.halt(None);
        let listener = loop {
            // The old socket may take a moment to close.
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener.into_std().unwrap(),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.address = listener.local_addr().unwrap();
        let key = self.key;
        let check = move |request: Request<()>| match (key, request.metadata().get("api-key")) {
            (Some(key), given) if given.is_none_or(|given| given != key) => {
                Err(Status::unauthenticated("Invalid API key or JWT"))
            }
            _ => Ok(request),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (points, collections) =
            (points::Points(self.shared.clone()), collections::Collections(self.shared.clone()));
        let server = Server::builder()
            .add_service(PointsServer::with_interceptor(points, check))
            .add_service(CollectionsServer::with_interceptor(collections, check));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            server.serve_with_incoming(TcpIncoming::from(listener)).await
        });
        self.runtime = Some(runtime);
    }

    /// Halts at a request from now on, or goes on with None.
    pub fn halt(&self, halt: Option<Halt>) {
        self.shared.requests.store(0, Ordering::Release);
        *self.shared.halt.lock().unwrap() = halt;
    }

    pub async fn has_halted(&self) {
        tokio::time::timeout(Duration::from_secs(60), self.shared.has_halted.notified()).await.unwrap();
    }

    /// Number of requests since the last `halt`.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Acquire)
    }

    /// Number of points in all collections, and of collections.
    pub fn size(&self) -> (usize, usize) {
        let store = self.shared.store();
        (store.collections.values().map(|collection| collection.points.len()).sum(), store.collections.len())
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Methods of a service that Simpleton does not call.
macro_rules! unsupported {
    ($($name:ident($request:ident) -> $response:ident;)*) => {$(
        fn $name<'life0, 'async_trait>(
            &'life0 self,
            _: tonic::Request<$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(tonic::Status::unimplemented(stringify!($name))) })
        }
    )*};
}
use unsupported;

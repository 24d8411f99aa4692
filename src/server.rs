//! From settings to a running server: the one place where the parts are put together.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    app::{
        self, App, Parts,
        alerts::Alerts,
        keys::{Keys, NewKey},
        prompts::Prompts,
        rag::Documents,
        responses::Responses,
    },
    backend,
    cache::Cache,
    config::{Config, ServerSettings},
    data_dir::DataDir,
    error::{Error, Kind, Result},
    http::{self, BodyMemory, Bounds, ConnectionLimits, HttpState, StreamTimes},
    store::{self, History},
    telemetry::Monitoring,
    types::Secret,
    value_parser::authority,
    vectors,
};

/// Everything is open and bound; nothing is answered yet.
pub struct Server {
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    bounds: Bounds,
    /// A key made for this first start, to be shown once.
    pub new_key: Option<NewKey>,
    own_key: bool,
    keys: Arc<Keys>,
    /// These two are held until the server has ended.
    data_dir: DataDir,
    _background: DropGuard,
}

impl Server {
    /// # Errors
    /// `Kind::Setup` with what to do, when the data folder, the key, the backend or the port cannot
    /// be had.
    pub async fn prepare(config: &Config) -> Result<Self> {
        let data_dir = DataDir::open(&config.server.data_dir)?;
        if let Some(exposure) = data_dir.exposure() {
            tracing::warn!("{exposure}");
        }
        let (keys, new_key) = Keys::open(&config.server.api_keys, data_dir.path())?;
        let keys = Arc::new(keys);
        let backend = backend::build(config_of_backends(config), data_dir.path())?;
        let (monitoring, exporter) = Monitoring::new(&config.telemetry, &http::route_labels())?;
        let metrics = Arc::clone(&monitoring.metrics);
        let cache = Cache::open(config.cache.clone(), data_dir.path(), metrics).await?;
        let prompts = Prompts::load(data_dir.path())?;
        let aggregator = Arc::clone(&monitoring.aggregator);
        let history = History::open(&config.history, data_dir.path(), aggregator);
        let alerts = Alerts::open(config.alerts.clone(), data_dir.path(), Arc::clone(&monitoring.metrics))?;
        config.rag.check()?;
        let store = vectors::build(&config.vectors, data_dir.path())?;
        let documents = Documents::new(store, config.rag.clone(), Arc::clone(&monitoring.metrics));
        let responses = Responses::new(store::Responses::new(&config.responses, data_dir.path()));
        let backends = vec![backend];
        let parts = Parts { backends, cache, monitoring, history, alerts, prompts, documents, responses };
        let app = Arc::new(App::new(parts, config_of_product(config)));
        let background = app.start(exporter);
        let cutoff = CancellationToken::new();
        let state = Arc::new(HttpState {
            app: Arc::clone(&app),
            keys: Arc::clone(&keys),
            settings: config.shown.clone(),
            dashboard: http::Files::new(config.server.dashboard.clone()),
            max_body: usize::try_from(config.server.max_body_mb).unwrap_or(usize::MAX) * 1024 * 1024,
            body_memory: BodyMemory::new(config.server.max_bodies_mb, config.server.max_body_mb),
            request_timeout: Duration::from_secs(config.server.request_timeout_s),
            analytics_require_key: config.telemetry.analytics_require_key,
            cors_origins: config.server.cors_origins.clone(),
            streams: StreamTimes {
                headers_after: Duration::from_secs(config.server.stream_headers_after_s),
                ping_every: Duration::from_secs(config.server.stream_ping_s),
            },
            live_streams: http::LiveStreams::default(),
            cutoff: cutoff.clone(),
        });
        let listener = bind(&config.server.host, config.server.port).await?;
        if let Ok(address) = listener.local_addr() {
            data_dir.publish(address);
        }
        let grace = Duration::from_secs(config.server.shutdown_timeout_s);
        let bounds = Bounds { connections: connection_limits(&config.server), grace, cutoff };
        Ok(Self {
            listener,
            router: http::router(state),
            app,
            bounds,
            new_key,
            own_key: config.server.api_keys.is_empty(),
            keys,
            data_dir,
            _background: background,
        })
    }

    /// Where it listens; the real port when 0 was asked for.
    ///
    /// # Errors
    /// `Kind::Internal` when the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|source| {
            Error::new(Kind::Internal, "The server's address is unknown.").with_source(source)
        })
    }

    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Whether the key is the server's own and not one of the settings.
    pub fn has_own_key(&self) -> bool {
        self.own_key
    }

    /// Makes a token that signs in to the dashboard once, within 15 minutes.
    ///
    /// # Errors
    /// `Kind::Setup` when the system has no random numbers.
    pub fn sign_in_token(&self) -> Result<Secret> {
        self.keys.sign_in_token()
    }

    /// Where the key is kept that was made at the first start.
    pub fn key_path(&self) -> std::path::PathBuf {
        self.data_dir.path().join("api-key")
    }

    /// Answers until `stop` completes and running replies have ended, then ends all children.
    ///
    /// # Errors
    /// `Kind::Setup` when the system does not give the threads that serve.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let stopping = self.app.stopping().clone();
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        let served = http::serve(self.listener, self.router, stop, self.bounds).await;
        self.app.stop().await;
        served
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|source| {
        let message = match source.kind() {
            ErrorKind::AddrInUse => {
                format!("Port {port} on {host} is in use by another program; stop it, or change PORT.")
            }
            ErrorKind::PermissionDenied => {
                format!("This user may not listen on port {port}; set PORT to 1024 or above.")
            }
            _ => format!("The server cannot listen on {}; check HOST and PORT.", authority(host, port)),
        };
        Error::new(Kind::Setup, message).with_source(source)
    })
}

/// Open files that are no connections: stores, engines, the runtimes' own.
const OTHER_FILES: usize = 64;

/// Connections at a time when nothing is said of them.
const DEFAULT_CONNECTIONS: usize = 4096;

/// As many as the limit on open files allows.
fn connection_limits(settings: &ServerSettings) -> ConnectionLimits {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let free = files.saturating_sub(OTHER_FILES).max(16);
    let total = match settings.max_connections {
        Some(wanted) if wanted > free => {
            tracing::warn!(
                "MAX_CONNECTIONS is {wanted}, but the limit on open files (ulimit -n) of {files} allows only {free}"
            );
            free
        }
        Some(wanted) => wanted,
        // Each may have one to a backend.
        None => (free / 2).min(DEFAULT_CONNECTIONS),
    };
    ConnectionLimits { total, per_address: settings.max_connections_per_address }
}

fn config_of_product(config: &Config) -> app::Settings<'_> {
    app::Settings {
        catalog: &config.models,
        images: &config.images,
        ocr: &config.ocr,
        documents: &config.documents,
    }
}

fn config_of_backends(config: &Config) -> backend::Settings<'_> {
    backend::Settings {
        ollama: &config.ollama,
        engine: &config.engine,
        model_store: &config.model_store,
        pull: &config.pull,
        client: &config.client,
    }
}

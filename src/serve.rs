//! From settings to a running server: the one place where the parts are put together.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::DropGuard;

use crate::{
    app::{
        self, App, Parts,
        alerts::Alerts,
        keys::{Keys, NewKey},
        prompts::Prompts,
    },
    backend,
    cache::Cache,
    config::{Config, ServerSettings},
    data_dir::DataDir,
    error::{Error, Kind, Result},
    http::{self, Edge},
    setting::authority,
    store::History,
    telemetry::Monitoring,
};

/// Everything is open and bound; nothing is answered yet.
pub struct Server {
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    grace: Duration,
    /// A key made for this first start, to be shown once.
    pub new_key: Option<NewKey>,
    own_key: bool,
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
        let (keys, new_key) = Keys::open(&config.server.api_keys, data_dir.path())?;
        let backend = backend::build(config_of_backends(config), data_dir.path())?;
        let (monitoring, exporter) = Monitoring::new(&config.telemetry, &http::route_labels())?;
        let metrics = Arc::clone(&monitoring.metrics);
        let cache = Cache::open(config.cache.clone(), data_dir.path(), metrics).await?;
        let prompts = Prompts::load(data_dir.path())?;
        let rollups = Arc::clone(&monitoring.rollups);
        let history = History::open(&config.history, data_dir.path(), rollups);
        let alerts = Alerts::open(config.alerts.clone(), data_dir.path(), Arc::clone(&monitoring.metrics))?;
        let parts = Parts { backend, cache, monitoring, history, alerts, prompts };
        let app = Arc::new(App::new(parts, config_of_product(config)));
        let background = app.start(exporter);
        let edge = Arc::new(Edge {
            app: Arc::clone(&app),
            keys,
            max_body: usize::try_from(config.server.max_body_mb).unwrap_or(usize::MAX) * 1024 * 1024,
            body_memory: body_memory(&config.server),
            request_timeout: Duration::from_secs(config.server.request_timeout_s),
            analytics_require_key: config.telemetry.analytics_require_key,
        });
        let listener = bind(&config.server.host, config.server.port).await?;
        let grace = Duration::from_secs(config.server.shutdown_timeout_s);
        Ok(Self {
            listener,
            router: http::router(edge),
            app,
            grace,
            new_key,
            own_key: config.server.api_keys.is_empty(),
            data_dir,
            _background: background,
        })
    }

    /// Where it listens; the real port when 0 was asked for.
    ///
    /// # Errors
    /// `Kind::Internal` when the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(|source| Error::new(Kind::Internal, "The server's address is unknown.").because(source))
    }

    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Whether the key is the server's own and not one of the settings.
    pub fn has_own_key(&self) -> bool {
        self.own_key
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
        let stopping = self.app.stopping.clone();
        let stop = async move {
            stop.await;
            stopping.cancel();
        };
        let served = http::serve(self.listener, self.router, stop, self.grace).await;
        self.app.stop().await;
        served
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|source| {
        let message = match source.kind() {
            ErrorKind::AddrInUse => {
                format!("Port {port} on {host} is taken by another program; stop that one, or set PORT.")
            }
            ErrorKind::PermissionDenied => {
                format!("This user may not listen on port {port}; set PORT to one above 1023.")
            }
            _ => format!("The server cannot listen on {}; check HOST and PORT.", authority(host, port)),
        };
        Error::new(Kind::Setup, message).because(source)
    })
}

/// A permit for each kilobyte, and at least as many as the largest body takes.
fn body_memory(settings: &ServerSettings) -> Arc<Semaphore> {
    let megabytes = settings.max_bodies_mb.max(settings.max_body_mb);
    Arc::new(Semaphore::new(usize::try_from(megabytes).unwrap_or(usize::MAX / 1024) * 1024))
}

fn config_of_product(config: &Config) -> app::Settings<'_> {
    app::Settings { models: &config.models, pictures: &config.pictures, ocr: &config.ocr }
}

fn config_of_backends(config: &Config) -> backend::Settings<'_> {
    backend::Settings {
        ollama: &config.ollama,
        engine: &config.engine,
        library: &config.library,
        client: &config.client,
    }
}

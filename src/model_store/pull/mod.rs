//! Pulls models from registries: Ollama's, others that speak OCI's distribution protocol, and Hugging Face.
//!
//! A `Puller` belongs to the process. `Puller::pull` begins a download or joins the one that is already running,
//! and returns a `Pull`, which gives its progress and ends with success or an error. When all `Pull`s of a download
//! have been dropped, it stops, and the next one continues where it was, as it does after a crash.

mod blob;
mod choice;
mod fetch;
mod hugging_face;
mod install;
mod partial;
mod plan;
mod progress;
mod ranges;
mod registry;
mod session;
mod source;
mod space;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use clap::Args;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::progress::{FileProgress, Progress};
use self::{
    blob::{BlobDownload, is_there},
    plan::Plan,
    progress::{Log, Reader, Reporter},
    source::Sources,
};
use super::{DEMO_MODEL, ModelStore, blobs::writable_blobs, blobs_of, is_demo, lock};
use crate::{
    error::{Error, Kind, Result},
    http_client::server_url,
    types::{ModelName, Secret},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model downloads")]
#[group(skip)]
pub struct Settings {
    /// Registries to pull models from, separated by commas. Names without a host are looked up in the first one, and a host in a name must be one of these. Registries, and servers that they redirect to, may use http:// or a private address only if they are listed here. A user name and password can be part of the URL
    #[arg(long, env = "MODEL_REGISTRY", value_delimiter = ',', default_value = "https://registry.ollama.ai", value_parser = server_url("https://registry.ollama.ai", &["/v2"]))]
    pub model_registry: Vec<String>,
    /// URL of Hugging Face, or of a mirror of it, for models named hf.co/owner/repository
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co", value_parser = server_url("https://huggingface.co", &["/api"]))]
    pub hf_endpoint: String,
    /// Token for private and gated models on Hugging Face
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, value_parser = Secret::parse)]
    pub hf_token: Option<Secret>,
}

/// Time limits and retries of downloads.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Time for the headers of a response, and for a whole small document.
    pub headers_timeout: Duration,
    /// A connection that receives fewer than `least_bytes` in a `window` is replaced.
    pub window: Duration,
    pub least_bytes: u64,
    /// Failed attempts in a row after which a download fails.
    pub attempts: u32,
    /// Delay after the first failure; it doubles with each further one.
    pub backoff: Duration,
    pub longest_backoff: Duration,
}

impl Default for Pace {
    /// Survives an interruption of half a minute.
    fn default() -> Self {
        Self {
            headers_timeout: Duration::from_secs(30),
            window: Duration::from_secs(30),
            least_bytes: 32 << 10,
            attempts: 8,
            backoff: Duration::from_millis(500),
            longest_backoff: Duration::from_secs(10),
        }
    }
}

/// Downloads models into a model store. Cheap to clone; all clones share their downloads.
#[derive(Clone)]
pub struct Puller(Arc<Inner>);

struct Inner {
    model_store: ModelStore,
    sources: Sources,
    pace: Pace,
    runtime: Handle,
    /// Downloads in progress.
    running: Mutex<HashMap<ModelName, Weak<Running>>>,
}

/// A download in progress, held by all of its `Pull`s.
struct Running {
    log: watch::Receiver<Log>,
    _stop_on_drop: DropGuard,
}

/// Progress of a download. Dropping the last one of a download stops it.
pub struct Pull {
    reader: Reader,
    _running: Arc<Running>,
}

impl Pull {
    /// Waits for the next step or its next state; states that were missed are skipped. `None` after success. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Result<Progress>> {
        self.reader.next().await
    }
}

impl Puller {
    /// Creates a puller whose downloads run on the current runtime.
    ///
    /// # Errors
    /// `Setup` when the TLS roots cannot be loaded.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(model_store: ModelStore, settings: &Settings, pace: Pace) -> Result<Self> {
        let sources = Sources::new(settings, pace.clone())?;
        let (runtime, running) = (Handle::current(), Mutex::default());
        Ok(Self(Arc::new(Inner { model_store, sources, pace, runtime, running })))
    }

    /// Downloads a model, or joins the download of it that is in progress.
    pub fn pull(&self, name: &ModelName) -> Pull {
        let mut table = lock(&self.0.running);
        table.retain(|_, running| running.strong_count() > 0);
        let running = table.get(name).and_then(Weak::upgrade).filter(|running| !running.is_over());
        let running = running.unwrap_or_else(|| {
            let running = self.start(name.clone());
            table.insert(name.clone(), Arc::downgrade(&running));
            running
        });
        Pull { reader: Reader::new(running.log.clone()), _running: running }
    }

    fn start(&self, name: ModelName) -> Arc<Running> {
        let (reporter, log) = Reporter::new();
        let stop = CancellationToken::new();
        let (inner, stopped) = (Arc::clone(&self.0), stop.clone());
        self.0.runtime.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                end = inner.run(&name, &reporter) => reporter.end(end),
            }
        });
        Arc::new(Running { log, _stop_on_drop: stop.drop_guard() })
    }
}

impl Running {
    fn is_over(&self) -> bool {
        self.log.borrow().is_over()
    }
}

impl Inner {
    async fn run(&self, name: &ModelName, reporter: &Reporter) -> Result<()> {
        if is_demo(name) {
            let message = format!("{DEMO_MODEL} is the built-in demo model, which is always installed.");
            return Err(Error::new(Kind::Invalid, message));
        }
        reporter.step("pulling manifest");
        let plan = Arc::new(self.sources.plan(name).await?);
        self.prepare(name, &plan).await?;
        // Files may be damaged, or removed meanwhile together with another model.
        for _ in 0..3 {
            self.download(&plan, reporter).await?;
            reporter.step("verifying sha256 digest");
            if !self.verify(&plan).await? {
                continue;
            }
            reporter.step("writing manifest");
            let name = name.clone();
            let installed = self.blocking(&plan, move |store, plan| {
                store.install(store.target_folder(), &name, &plan.files, plan.manifest.as_deref())
            });
            if installed.await? {
                reporter.step("success");
                return Ok(());
            }
        }
        let message =
            format!("The files of {name} were removed during the download, several times; pull it again.");
        Err(Error::new(Kind::Setup, message))
    }

    /// Creates the folder, and checks the free space.
    async fn prepare(&self, name: &ModelName, plan: &Arc<Plan>) -> Result<()> {
        let name = name.clone();
        self.blocking(plan, move |store, plan| {
            let blobs = writable_blobs(store.target_folder())?;
            space::check(&blobs, &name, plan.distinct())
        })
        .await
    }

    async fn download(&self, plan: &Plan, reporter: &Reporter) -> Result<()> {
        let blobs = blobs_of(self.model_store.target_folder());
        for file in plan.distinct() {
            let layer = &file.layer;
            if is_there(&blobs, layer) {
                reporter.file(&layer.digest, layer.size, layer.size, layer.size);
                continue;
            }
            let (session, pace) = (&plan.session, &self.pace);
            BlobDownload { session, file, blobs: &blobs, pace, reporter }.run().await?;
            self.model_store.note_digest(&blobs.join(layer.digest.blob_name()), &layer.digest);
        }
        Ok(())
    }

    async fn verify(&self, plan: &Arc<Plan>) -> Result<bool> {
        let stop = CancellationToken::new();
        // Hashing stops when this future is dropped.
        let _stop_on_drop = stop.clone().drop_guard();
        self.blocking(plan, move |store, plan| store.verify_blobs(store.target_folder(), &plan.files, &stop))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        plan: &Arc<Plan>,
        work: impl FnOnce(&ModelStore, &Plan) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (model_store, plan) = (self.model_store.clone(), Arc::clone(plan));
        spawn_blocking(move || work(&model_store, &plan)).await.map_err(|source| {
            Error::new(Kind::Internal, "The model could not be installed.").with_source(source)
        })?
    }
}

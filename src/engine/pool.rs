//! The engine itself: which models are loaded, which requests may use them, and when they are unloaded.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use jiff::Timestamp;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Fingerprint, Lease, Located, MemoryBudget, Role, Settings,
    fit::Fit,
    lease::Hold,
    locate, memory,
    model_slot::{ChildState, Key, ModelSlot},
    refusals::Refusals,
    runtime_folder::RuntimeFolder,
    spawner::Spawner,
    state::Shared,
    use_guard::UseGuard,
};
use crate::{
    error::{Error, Kind, Result},
    model_store::{Entry, ModelStore},
    types::{KeepAlive, LoadOptions, MemoryEstimate},
};

/// Runs the children. Dropping it stops them soon; `stop` returns when they have exited.
pub struct Engine {
    shared: Arc<Shared>,
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Name in the first request for it; other names may share its weights.
    pub name: String,
    /// sha256 of the weights.
    pub digest: String,
    pub role: Role,
    pub slots: usize,
    pub slots_busy: usize,
    /// Requests waiting for a slot.
    pub waiting: usize,
    /// An estimate.
    pub memory_bytes: u64,
    /// Tokens of one slot.
    pub context: u32,
    /// When it is unloaded if it is not used before; `None` while it is used, or when it stays.
    pub expires_at: Option<Timestamp>,
    pub pid: Option<u32>,
    pub since: Timestamp,
}

/// State of the engine at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The models that are ready, by name.
    pub loaded: Vec<Loaded>,
    /// Requests waiting for a slot, including those of models that are being loaded.
    pub waiting: usize,
    /// Models that are not started for a while because their process keeps crashing.
    pub backing_off: usize,
    /// A model whose process is not responding.
    pub held_up: Option<String>,
    /// The model with the most recent crashes in a row, and their number.
    pub crash_loop: Option<(String, u32)>,
}

impl Engine {
    /// Tokens that a request to this model may use, prompt and answer together.
    pub fn context(&self, entry: &Entry) -> u32 {
        self.fit(entry, Role::Chat).context
    }

    /// Memory that the model takes, or will take when it is loaded.
    pub fn memory(&self, entry: &Entry) -> MemoryEstimate {
        let role = if entry.architecture.embedding_only { Role::Embed } else { Role::Chat };
        self.fit(entry, role).memory
    }

    /// Memory of the machine, and the part of it that models may use.
    pub fn memory_budget(&self) -> MemoryBudget {
        MemoryBudget::new(&self.shared.settings, self.shared.budget)
    }

    /// The running child's, unless the model gets a larger context with the next request.
    fn fit(&self, entry: &Entry, role: Role) -> Fit {
        let next = self.shared.fit(entry, role);
        let table = self.shared.table();
        let life = table.get(&Key::new(entry, role)).and_then(|model_slot| model_slot.life.as_ref());
        let running = life.filter(|life| !life.is_outdated).map(|life| life.fit);
        running.filter(|running| running.context >= next.context).unwrap_or(next)
    }

    /// Loads the model with this context from now on. A child with another one finishes its requests and is then
    /// replaced; new requests wait for the new child.
    fn set_context(&self, entry: &Entry, context: u32) {
        self.shared.contexts().insert(entry.weights_digest.clone(), context);
        for role in [Role::Chat, Role::Embed] {
            let fit = self.shared.fit(entry, role);
            let mut table = self.shared.table();
            let life = table.get_mut(&Key::new(entry, role)).and_then(|model_slot| model_slot.life.as_mut());
            if let Some(life) = life.filter(|life| life.fit.context != fit.context) {
                life.is_outdated = true;
            }
        }
        self.shared.changed.send_replace(());
    }

    /// Must be called within a tokio runtime. llama-server is looked for only when a model is loaded, so that
    /// a server without it still does everything else.
    ///
    /// # Errors
    /// `Setup` when no private folder for the sockets can be created.
    pub fn new(settings: Settings, data_dir: &Path, model_store: ModelStore) -> Result<Self> {
        let (changed, changes) = watch::channel(());
        let shared = Arc::new(Shared {
            budget: memory::budget(&settings),
            model_store,
            folder: RuntimeFolder::open(data_dir)?,
            spawner: Spawner::new()?,
            refusals: Refusals::default(),
            data_dir: data_dir.to_owned(),
            settings,
            table: Mutex::default(),
            contexts: Mutex::default(),
            changed,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            located: Mutex::default(),
            locating: tokio::sync::Mutex::default(),
        });
        shared.tasks.spawn(unload_idle(Arc::clone(&shared), changes));
        Ok(Self { shared })
    }

    /// Loads the model if necessary, waits for a free slot and takes it. Concurrent first requests share one
    /// start, which continues even if they are canceled. Dropping the future leaves the queue. `keep_alive`
    /// counts from the end of the lease.
    ///
    /// # Errors
    /// `Busy` when too many wait already. `Unavailable` when there is no room because all loaded
    /// models are busy, when the model's process has crashed repeatedly, or when the engine is
    /// stopping. `Setup` when the model's files are damaged, when it alone needs more memory than the
    /// engine may use, or when llama-server is missing. `BadGateway` or `GatewayTimeout` when it cannot
    /// be loaded.
    pub async fn acquire(
        &self,
        entry: Arc<Entry>,
        role: Role,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Lease> {
        self.load(entry, role, LoadOptions { keep_alive, context: None }).await
    }

    /// Does the same, with another context if one is requested. It is set once there is a slot: requests that are
    /// refused one, or leave before, do not have the model loaded anew.
    ///
    /// # Errors
    /// As `acquire`.
    pub async fn load(&self, entry: Arc<Entry>, role: Role, options: LoadOptions) -> Result<Lease> {
        let key = Key::new(&entry, role);
        let keep_alive = options.keep_alive.unwrap_or(self.shared.settings.engine_keep_alive);
        let (use_guard, queue) = UseGuard::new(&self.shared, &key, keep_alive);
        let lined_up = Instant::now();
        let slot = queue.enter(&entry.name.to_string()).await?;
        use_guard.granted(keep_alive);
        if let Some(context) = options.context {
            self.set_context(&entry, context);
        }
        Hold { entry, waited: lined_up.elapsed(), _slot: slot, use_guard }.lease().await
    }

    /// # Errors
    /// `Invalid` when this request has recently killed a child twice.
    pub fn check(&self, request: &Fingerprint) -> Result<()> {
        self.shared.refusals.check(request, Instant::now())
    }

    /// Stops a model's children as soon as they are unused, unless a later request extends their keep-alive.
    pub fn unload(&self, entry: &Entry) {
        let mut table = self.shared.table();
        for role in [Role::Chat, Role::Embed] {
            if let Some(model_slot) = table.get_mut(&Key::new(entry, role)) {
                model_slot.keep_alive = KeepAlive::NONE;
                model_slot.unloads += 1;
            }
        }
        drop(table);
        self.shared.contexts().remove(&entry.weights_digest);
        self.shared.changed.send_replace(());
    }

    /// The models that are ready, by name.
    pub fn loaded(&self) -> Vec<Loaded> {
        let table = self.shared.table();
        let mut list: Vec<Loaded> =
            table.iter().filter_map(|(key, model_slot)| describe(key, model_slot)).collect();
        list.sort_by(|a, b| (&a.name, a.role.as_str()).cmp(&(&b.name, b.role.as_str())));
        list
    }

    pub fn snapshot(&self) -> Snapshot {
        let loaded = self.loaded();
        let table = self.shared.table();
        Snapshot {
            loaded,
            waiting: table.values().map(|model_slot| model_slot.queue.waiting()).sum(),
            held_up: table
                .values()
                .find_map(|model_slot| model_slot.life.as_ref().filter(|life| life.is_held_up()))
                .map(|life| life.name.clone()),
            crash_loop: table
                .values()
                .filter_map(|model_slot| model_slot.crashes.of_late())
                .max_by_key(|(_, count)| *count),
            backing_off: table.values().filter(|model_slot| model_slot.crashes.refusal().is_some()).count(),
        }
    }

    /// Path and version of llama-server. Cheap, because the version of a program is read only once.
    ///
    /// # Errors
    /// `Setup`, saying what to do, when there is none or it does not run.
    pub async fn locate(&self) -> Result<Located> {
        let path = locate::find(&self.shared.settings, &self.shared.data_dir)?;
        let written = path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(located) = self.shared.remembered(&path, written) {
            return Ok(located);
        }
        // A task of its own, and one for all callers, whose timeouts may be shorter than it takes.
        let shared = Arc::clone(&self.shared);
        let ask = self.shared.runtime.spawn(async move {
            let _one_at_a_time = shared.locating.lock().await;
            if let Some(located) = shared.remembered(&path, written) {
                return Ok(located);
            }
            let located = locate::locate(&shared.settings, &shared.data_dir).await?;
            *shared.located() = Some((located.clone(), written));
            Ok(located)
        });
        ask.await.map_err(|source| {
            Error::new(Kind::Internal, "Looking for the engine failed.").with_source(source)
        })?
    }

    /// Stops all children, and with them their requests. When this returns, none is running, and no more are
    /// started.
    pub async fn stop(&self) {
        self.shared.shutdown.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.shutdown.cancel();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("loaded", &self.loaded()).finish_non_exhaustive()
    }
}

fn describe(key: &Key, model_slot: &ModelSlot) -> Option<Loaded> {
    let life = model_slot.life.as_ref()?;
    let ChildState::Running(running) = &*life.state.borrow() else { return None };
    Some(Loaded {
        name: life.name.clone(),
        digest: life.digest.clone(),
        role: key.role(),
        slots: model_slot.queue.slots(),
        slots_busy: model_slot.queue.busy(),
        waiting: model_slot.queue.waiting(),
        memory_bytes: life.fit.memory.total(),
        context: running.context,
        expires_at: model_slot.idle_until().and_then(to_timestamp),
        pid: running.pid,
        since: running.since,
    })
}

/// Stops children whose keep-alive has expired. One task for the whole engine.
async fn unload_idle(shared: Arc<Shared>, mut changes: watch::Receiver<()>) {
    loop {
        let next = shared.table().values().filter_map(ModelSlot::idle_until).min();
        let due = async {
            match next {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            // Shared holds the sender, so this is always a change.
            _ = changes.changed() => {
                let table = shared.table();
                let outdated = table.values().filter(|model_slot| model_slot.leases == 0);
                let lives = outdated.filter_map(|model_slot| model_slot.life.as_ref());
                lives.filter(|life| life.is_outdated).for_each(|life| life.stop.cancel());
            }
            () = due => {
                let now = Instant::now();
                for model_slot in shared.table().values() {
                    if let Some(life) = model_slot.life.as_ref().filter(|_| model_slot.idle_until().is_some_and(|until| until <= now)) {
                        life.stop.cancel();
                    }
                }
            }
        }
    }
}

/// Time of day at an instant to come.
fn to_timestamp(instant: Instant) -> Option<Timestamp> {
    Timestamp::now().checked_add(instant.saturating_duration_since(Instant::now())).ok()
}

//! State shared by the engine's tasks: the models, and the state of each.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::{runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Located, Role, Settings,
    fit::Fit,
    model_slot::{Key, ModelSlot},
    refusals::Refusals,
    runtime_folder::RuntimeFolder,
    spawner::Spawner,
};
use crate::{
    error::{Error, Kind},
    model_store::{Entry, ModelStore},
};

pub(super) type Table = HashMap<Key, ModelSlot>;

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) data_dir: PathBuf,
    pub(super) model_store: ModelStore,
    /// Bytes that all children together may take.
    pub(super) budget: u64,
    pub(super) folder: RuntimeFolder,
    pub(super) spawner: Spawner,
    pub(super) refusals: Refusals,
    /// Never locked across an await. Entries are never removed; there are no more of them than installed
    /// models.
    pub(super) table: Mutex<Table>,
    /// Requested contexts, by the digest of the weights.
    pub(super) contexts: Mutex<HashMap<String, u32>>,
    /// Notified after every change that may let a waiting task continue.
    pub(super) changed: watch::Sender<()>,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Runtime of the children's tasks, because the runtime of the request that starts a child may end
    /// earlier.
    pub(super) runtime: Handle,
    /// The program that was found last, and its modification time.
    pub(super) located: Mutex<Option<(Located, SystemTime)>>,
    pub(super) locating: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contexts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the context that a model will be loaded with, and its memory.
    pub(super) fn fit(&self, entry: &Entry, role: Role) -> Fit {
        let requested = self.contexts().get(&entry.weights_digest).copied();
        Fit::new(entry, role, requested, &self.settings, self.budget)
    }

    pub(super) fn located(&self) -> MutexGuard<'_, Option<(Located, SystemTime)>> {
        self.located.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the remembered program if its modification time is the same.
    pub(super) fn remembered(&self, path: &Path, written: SystemTime) -> Option<Located> {
        let located = self.located();
        let (located, at) = located.as_ref()?;
        (located.path == path && *at == written).then(|| located.clone())
    }

    pub(super) fn is_used(&self, key: &Key) -> bool {
        self.table().get(key).is_some_and(|model_slot| model_slot.users > 0)
    }
}

pub(super) fn shutting_down() -> Error {
    Error::new(Kind::Unavailable, "The server is shutting down.")
}

//! Models on disk, in Ollama's own layout: `manifests/<host>/<namespace>/<name>/<tag>` says which
//! files in `blobs/` make up a model. A folder that Ollama filled serves here, and the reverse.
//!
//! Everything in here blocks on the disk: call it where blocking is allowed. It knows nothing of
//! running a model.

mod blobs;
mod demo;
mod describe;
mod digest;
mod entry;
mod gguf;
mod import;
mod load;
mod manifest;
mod remove;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use clap::Args;

pub use demo::DEMO_MODEL;
pub use entry::{Architecture, Entry};

use crate::{
    error::{Error, Kind, Result},
    setting::path,
    types::ModelName,
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Models")]
#[group(skip)]
pub struct Settings {
    /// Folder with the models, in Ollama's layout: ~/.ollama/models serves what is pulled already
    /// [default: models in the data folder]
    #[arg(long, env = "MODELS_DIR", value_parser = path)]
    pub models_dir: Option<PathBuf>,
}

impl Settings {
    /// The folder to open.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        self.models_dir.clone().unwrap_or_else(|| data_dir.join("models"))
    }
}

/// A folder with models. Cheap to clone; all clones share what they remember about the files.
#[derive(Clone, Debug)]
pub struct Library(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// What was read, by the manifest's path.
    loaded: Mutex<HashMap<PathBuf, load::Loaded>>,
    /// The last complaint about each path, so that each is logged once.
    complaints: Mutex<HashMap<PathBuf, String>>,
    /// What was hashed in this process, by path.
    hashed: Mutex<HashMap<PathBuf, verify::Hashed>>,
}

impl Library {
    /// Opens a models folder and creates it when it is missing. A folder that cannot be written to
    /// is fine as long as nothing is imported or removed.
    ///
    /// # Errors
    /// `Setup` when there is no such folder and it cannot be created.
    pub fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).map_err(|source| {
            Error::new(
                Kind::Setup,
                "The models folder cannot be created; set MODELS_DIR to a folder that can be written to.",
            )
            .because(at(&dir, &source))
        })?;
        Ok(Self(Arc::new(Inner {
            dir,
            loaded: Mutex::default(),
            complaints: Mutex::default(),
            hashed: Mutex::default(),
        })))
    }

    /// All models, by name. Only what has changed since the last call is read again. A model that
    /// cannot be used is left out and logged once.
    ///
    /// # Errors
    /// `Setup` when the folder itself cannot be read.
    pub fn list(&self) -> Result<Vec<Arc<Entry>>> {
        let found = manifest::find_all(&self.0.dir);
        for (path, source) in &found.unreadable {
            let error =
                Error::new(Kind::Setup, "A folder with models cannot be read; check its permissions.")
                    .because(at(path, source));
            if *path == manifest::folder(&self.0.dir) {
                return Err(error);
            }
            self.complain(path, &error);
        }
        let mut entries = Vec::with_capacity(found.manifests.len());
        for (name, path) in &found.manifests {
            match self.load(name, path) {
                Ok(entry) => {
                    lock(&self.0.complaints).remove(path);
                    entries.extend(entry);
                }
                Err(error) => self.complain(path, &error),
            }
        }
        let there: HashSet<&PathBuf> = found.manifests.iter().map(|(_, path)| path).collect();
        lock(&self.0.loaded).retain(|path, _| there.contains(path));
        entries.sort_by(|a, b| a.model.name.cmp(&b.model.name));
        Ok(entries)
    }

    /// The model of exactly this name and tag, `None` when it is not installed.
    ///
    /// # Errors
    /// `Setup` when it is installed but damaged, incomplete or of a sort that the engine cannot run.
    pub fn find(&self, name: &ModelName) -> Result<Option<Arc<Entry>>> {
        self.load(name, &manifest::path(&self.0.dir, name))
    }

    fn complain(&self, path: &Path, error: &Error) {
        let complaint = error.chain();
        let last = lock(&self.0.complaints).insert(path.to_owned(), complaint.clone());
        if last.as_ref() != Some(&complaint) {
            tracing::warn!(path = %path.display(), "Left out of the list of models: {complaint}");
        }
    }

    fn blobs(&self) -> PathBuf {
        self.0.dir.join("blobs")
    }
}

/// Tells whether a file is the one that was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { len: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// What each of these mutexes holds is whole between any two statements, so that a panic elsewhere
/// does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cause with the path it happened at, for the log.
fn at(path: &Path, source: &dyn std::error::Error) -> String {
    format!("{}: {source}", path.display())
}

/// Why one of a model's GGUF files is refused.
fn refused(name: &ModelName, path: &Path, fault: &gguf::Fault) -> Error {
    match fault {
        gguf::Fault::Unfit(_) | gguf::Fault::Version(_) => cannot_run(name, fault),
        gguf::Fault::Io(_) => unreadable(name),
        _ => damaged(name, fault),
    }
    .because(at(path, fault))
}

fn unreadable(name: &ModelName) -> Error {
    Error::new(Kind::Setup, format!("The model {name} cannot be read; check its files' permissions."))
}

/// `why` reads as the end of a sentence, as below.
fn cannot_run(name: &ModelName, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Setup, format!("The model {name} cannot run in the embedded engine: {why}."))
}

/// `what` reads as the end of a sentence about one of the model's files.
fn damaged(name: &ModelName, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Setup, format!("The model {name} is damaged ({what}); remove it and pull it again."))
}

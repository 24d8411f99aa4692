//! Models on disk, in Ollama's layout: `manifests/<host>/<namespace>/<name>/<tag>` lists the files in
//! `blobs/` that make up a model. Either program can use the other's folder.
//!
//! All functions block on disk access, so call them where blocking is allowed. Running models is not part of
//! this module.

mod blobs;
mod chat_template;
mod copy;
mod create;
mod demo;
mod describe;
mod digest;
mod entry;
mod gguf;
mod import;
mod load;
mod manifest;
mod modelfile;
pub mod pull;
mod remove;
mod split;
#[cfg(test)]
mod tests;
mod upload;
mod verify;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use clap::Args;

pub use entry::{Architecture, Entry, WeightsFile};
pub use import::Import;
pub use modelfile::Modelfile;

use self::load::Headers;

use crate::{
    data_dir::advice,
    error::{Error, Kind, Result},
    files,
    types::ModelName,
    value_parser::path,
};

/// Name of the demo model.
pub const DEMO_MODEL: &str = "simpleton-demo";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Models")]
#[group(skip)]
pub struct Settings {
    /// Additional directory of models, in Ollama's layout: ~/.ollama/models serves what Ollama has pulled. It is only read, unless you pull, import or remove a model
    #[arg(long, env = "MODELS_DIR", value_parser = path)]
    pub models_dir: Option<PathBuf>,
}

/// Folders with models. Cheap to clone; all clones share one cache of the files' contents.
#[derive(Clone, Debug)]
pub struct ModelStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// In the data folder; the demo model is here.
    own: PathBuf,
    /// The folder from the settings, to which models are imported. It may belong to another program.
    named: Option<PathBuf>,
    /// Loaded manifests by path.
    loaded: Mutex<HashMap<PathBuf, load::Loaded>>,
    /// Last problem with each path, so that each is logged once.
    complaints: Mutex<HashMap<PathBuf, String>>,
    /// Files hashed in this process, by path.
    hashed: Mutex<HashMap<PathBuf, verify::Hashed>>,
}

/// List of models that is being made.
#[derive(Default)]
struct Listing {
    entries: Vec<Arc<Entry>>,
    names: HashSet<ModelName>,
    /// Paths of all manifests.
    manifests: HashSet<PathBuf>,
    headers: Headers,
}

impl ModelStore {
    /// Opens our own folder, and creates it if it is missing.
    ///
    /// # Errors
    /// `Setup` when the folder does not exist and cannot be created.
    pub fn open(own: PathBuf) -> Result<Self> {
        Self::over(own, None)
    }

    /// Opens the folder in the data folder and, if it is set, `MODELS_DIR`, which is not created or changed.
    ///
    /// # Errors
    /// `Setup` when our own cannot be created or `MODELS_DIR` cannot be read.
    pub fn configured(settings: &Settings, data_dir: &Path) -> Result<Self> {
        let own = data_dir.join("models");
        let named = settings.models_dir.clone().filter(|named| *named != own);
        if let Some(named) = &named {
            check_readable(named)?;
        }
        let model_store = Self::over(own, named)?;
        if let Err(error) = model_store.check_named() {
            tracing::warn!("{error}");
        }
        Ok(model_store)
    }

    /// Path of `MODELS_DIR`, if it is set. It is not created when it is missing: it may be on a disk that
    /// is not mounted yet.
    ///
    /// # Errors
    /// `Setup` when it does not exist.
    pub fn check_named(&self) -> Result<Option<&Path>> {
        let named = self.0.named.as_deref();
        let Some(missing) = named.filter(|named| !named.exists()) else { return Ok(named) };
        let missing = missing.display();
        Err(Error::new(
            Kind::Setup,
            format!(
                "The models directory {missing} does not exist; correct MODELS_DIR, or mount or create the directory."
            ),
        ))
    }

    fn over(own: PathBuf, named: Option<PathBuf>) -> Result<Self> {
        files::private_folder(&own).map_err(|source| {
            let advice = advice(&source);
            Error::new(
                Kind::Setup,
                format!("The models directory {} cannot be created; {advice}.", own.display()),
            )
            .with_source(source)
        })?;
        Ok(Self(Arc::new(Inner {
            own,
            named,
            loaded: Mutex::default(),
            complaints: Mutex::default(),
            hashed: Mutex::default(),
        })))
    }

    /// Folders that are searched for models, starting with the one that models are imported to.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.named.iter().chain([&self.0.own]).map(PathBuf::as_path)
    }

    /// Folder that models are pulled and imported to.
    fn target_folder(&self) -> &Path {
        self.0.named.as_deref().unwrap_or(&self.0.own)
    }

    /// Lists all models by name. Reads only files that have changed since the last call. A model that cannot
    /// be used is left out and logged once.
    ///
    /// # Errors
    /// `Setup` when the folder itself cannot be read.
    pub fn list(&self) -> Result<Vec<Arc<Entry>>> {
        let mut listing = Listing::default();
        for folder in self.folders() {
            self.list_folder(folder, &mut listing)?;
        }
        let Listing { mut entries, manifests, .. } = listing;
        lock(&self.0.loaded).retain(|path, _| manifests.contains(path));
        entries.sort_by(|a, b| a.model.name.cmp(&b.model.name));
        Ok(entries)
    }

    /// Adds the models of one folder, except for names that are on the list already.
    fn list_folder(&self, folder: &Path, listing: &mut Listing) -> Result<()> {
        let found = manifest::find_all(folder);
        for (path, source) in &found.unreadable {
            let error =
                Error::new(Kind::Setup, "A directory of models cannot be read; check its permissions.")
                    .with_source(at(path, source));
            if *path == manifest::folder(folder) {
                return Err(error);
            }
            self.complain(path, &error);
        }
        for (name, path) in found.manifests {
            match self.load(folder, &name, &path, &mut listing.headers) {
                Ok(entry) => {
                    lock(&self.0.complaints).remove(&path);
                    let names = &mut listing.names;
                    listing.entries.extend(entry.filter(|entry| names.insert(entry.name.clone())));
                }
                Err(error) => self.complain(&path, &error),
            }
            listing.manifests.insert(path);
        }
        Ok(())
    }

    /// Returns the model with this name and tag, ignoring case; `None` if it is not installed.
    ///
    /// # Errors
    /// `Setup` when it is installed, but damaged, incomplete or not supported by the engine.
    pub fn find(&self, name: &ModelName) -> Result<Option<Arc<Entry>>> {
        for folder in self.folders() {
            let name = manifest::installed(folder, name);
            if let Some(entry) =
                self.load(folder, &name, &manifest::path(folder, &name), &mut Headers::default())?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn complain(&self, path: &Path, error: &Error) {
        let complaint = error.chain();
        let last = lock(&self.0.complaints).insert(path.to_owned(), complaint.clone());
        if last.as_ref() != Some(&complaint) {
            tracing::warn!(path = %path.display(), "Left out of the list of models: {complaint}");
        }
    }
}

fn is_demo(name: &ModelName) -> bool {
    name.to_string().eq_ignore_ascii_case(DEMO_MODEL)
}

fn blobs_of(folder: &Path) -> PathBuf {
    folder.join("blobs")
}

/// Checks that a directory can be read, unless it is missing.
fn check_readable(folder: &Path) -> Result<()> {
    let unreadable = |path: &Path, source: io::Error| {
        let path = path.display();
        Error::new(
            Kind::Setup,
            format!(
                "The models directory {path} cannot be read; check MODELS_DIR and the directory's permissions."
            ),
        )
        .with_source(source)
    };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(folder, error)),
        Ok(_) => {}
    }
    let manifests = manifest::folder(folder);
    match fs::read_dir(&manifests) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(&manifests, error)),
        _ => Ok(()),
    }
}

/// Size and modification time of a file, which change when the file does.
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

/// Locks a mutex whose contents are consistent between any two statements, so that a panic elsewhere
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
    .with_source(at(path, fault))
}

fn unreadable(name: &ModelName) -> Error {
    Error::new(Kind::Setup, format!("The model {name} cannot be read; check its files' permissions."))
}

fn absent(name: &ModelName) -> Error {
    let message =
        format!("The model {name} is not installed; `simpleton model list` shows the installed models.");
    Error::new(Kind::NotFound, message)
}

/// Reason why one of a model's files cannot be used.
fn unavailable(name: &ModelName, path: &Path, source: &io::Error) -> Error {
    let error = match source.kind() {
        io::ErrorKind::NotFound => damaged(name, "a file is missing"),
        _ => unreadable(name),
    };
    error.with_source(at(path, source))
}

/// `why` reads as the end of a sentence, as below.
fn cannot_run(name: &ModelName, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Setup, format!("The model {name} cannot run in the embedded engine: {why}."))
}

/// `what` reads as the end of a sentence about one of the model's files.
fn damaged(name: &ModelName, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Setup, format!("The model {name} is damaged ({what}); remove it and pull it again."))
}

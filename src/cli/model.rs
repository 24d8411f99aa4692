//! `simpleton model`: the models on this machine's disk.

use std::path::PathBuf;

use clap::Subcommand;

use super::say;
use crate::{
    config::Config,
    error::{Error, Kind, Result},
    library::Library,
    types::ModelName,
};

#[derive(Subcommand)]
pub(super) enum Action {
    /// List the installed models and what they can do
    List,
    /// Install a model from a GGUF file
    Import {
        /// What it will be called, such as qwen2.5:7b
        name: ModelName,
        /// The GGUF file; do not change it afterwards: where the file system can, it is linked and not copied
        file: PathBuf,
        /// The GGUF file with the vision projector (mmproj) that belongs to it
        #[arg(long, value_name = "FILE")]
        projector: Option<PathBuf>,
    },
    /// Remove a model and the files that no other model uses
    Remove {
        /// Its name, as `simpleton model list` prints it
        name: ModelName,
    },
}

pub(super) fn run(action: &Action, config: &Config) -> Result<()> {
    let library = Library::open(config.library.folder(&config.server.data_dir))?;
    match action {
        Action::List => list(&library),
        Action::Import { name, file, projector } => {
            let entry = library.import(name, file, projector.as_deref())?;
            say(format_args!("installed {} ({})", entry.name, megabytes(entry.model.size)));
            Ok(())
        }
        Action::Remove { name } => {
            library.remove(name)?;
            say(format_args!("removed {name}"));
            Ok(())
        }
    }
}

fn list(library: &Library) -> Result<()> {
    library.install_demo()?;
    let entries = library.list()?;
    if entries.is_empty() {
        return Err(Error::new(Kind::Setup, "No model is installed; see `simpleton model import --help`."));
    }
    let width = entries.iter().map(|entry| entry.model.name.len()).max().unwrap_or(0);
    for entry in entries {
        let model = &entry.model;
        let can: Vec<&str> = model.capabilities.iter().map(|capability| capability.as_str()).collect();
        say(format_args!("{:width$}  {:>10}  {}", model.name, megabytes(model.size), can.join(", ")));
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

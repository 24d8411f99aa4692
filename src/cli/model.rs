//! `simpleton model`: the models on this machine's disk, and those of the server that is used instead.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    progress::Progress,
    say,
    serve::{runtime, survive_full_files},
};
use crate::{
    backend::{Backend, ollama::Ollama},
    config::Config,
    error::{Error, Kind, Result},
    files::readable_size,
    model_store::{
        Import, ModelStore,
        pull::{Pace, Puller},
    },
    types::{Model, ModelName},
    value_parser::without_password,
};

#[derive(Subcommand)]
pub(super) enum Action {
    /// List the available models and what they can do
    List,
    /// Download a model, or continue an interrupted download
    Pull {
        /// Name of the model: qwen2.5:7b, namespace/name, or hf.co/owner/repository:Q4_K_M
        name: ModelName,
    },
    /// Install a model from a GGUF file
    Import(ImportOptions),
    /// Remove a model, and its files that no other model uses
    Remove {
        /// Name of the model, as printed by `simpleton model list`
        name: ModelName,
    },
}

#[derive(Args)]
pub(super) struct ImportOptions {
    /// Name of the model, such as qwen2.5:7b
    name: ModelName,
    /// GGUF file to import. Do not change it afterwards: if possible, it is hard-linked instead of copied
    file: PathBuf,
    /// GGUF file with the model's vision projector (mmproj)
    #[arg(long, value_name = "FILE")]
    projector: Option<PathBuf>,
    /// Replace an existing model of the same name
    #[arg(long)]
    force: bool,
}

pub(super) fn run(action: &Action, config: &Config) -> Result<()> {
    let model_store = || ModelStore::configured(&config.model_store, &config.server.data_dir);
    match (action, &config.ollama.ollama_base_url) {
        (Action::List, Some(url)) => list_ollama(url, config),
        (Action::List, None) => list_installed(&model_store()?),
        (Action::Import(options), ollama) => {
            import(&model_store()?, options)?;
            warn_of_ollama(ollama.as_deref());
            Ok(())
        }
        (Action::Pull { name }, ollama) => {
            runtime()?.block_on(pull(model_store()?, name, config))?;
            warn_of_ollama(ollama.as_deref());
            Ok(())
        }
        (Action::Remove { name }, _) => {
            model_store()?.remove(name)?;
            say(format_args!("removed {name}"));
            Ok(())
        }
    }
}

fn warn_of_ollama(url: Option<&str>) {
    if url.is_some() {
        say("OLLAMA_BASE_URL is set, so the server uses Ollama's models. Unset it to use this one.");
    }
}

async fn pull(model_store: ModelStore, name: &ModelName, config: &Config) -> Result<()> {
    survive_full_files()?;
    let puller = Puller::new(model_store, &config.pull, Pace::default())?;
    let (mut pull, mut bar, mut status) = (puller.pull(name), None, String::new());
    while let Some(progress) = pull.next().await {
        let progress = progress?;
        if progress.status != status {
            bar = progress.file.as_ref().map(|_| Progress::new(progress.status.clone()));
            say(&progress.status);
            status = progress.status;
        }
        if let (Some(bar), Some(file)) = (&mut bar, progress.file) {
            bar.show(file.completed, file.total);
        }
    }
    Ok(())
}

fn import(model_store: &ModelStore, options: &ImportOptions) -> Result<()> {
    let ImportOptions { name, file, projector, force } = options;
    let mut progress = Progress::new(format!("importing {name}"));
    let import = Import { name, gguf: file, projector: projector.as_deref(), replace: *force };
    let entry = model_store.import(import, |done, all| progress.show(done, all))?;
    drop(progress);
    say(format_args!("installed {} ({})", entry.name, readable_size(entry.model.size)));
    Ok(())
}

fn list_installed(model_store: &ModelStore) -> Result<()> {
    model_store.install_demo()?;
    let entries = model_store.list()?;
    let folders: Vec<String> = model_store
        .folders()
        .map(|folder| match folder.is_dir() {
            true => folder.display().to_string(),
            false => format!("{} (does not exist)", folder.display()),
        })
        .collect();
    print(&format!("In {}:", folders.join(" and ")), entries.iter().map(|entry| &entry.model).collect());
    Ok(())
}

fn list_ollama(url: &str, config: &Config) -> Result<()> {
    let ollama = Ollama::new(url, (&config.client).into())?;
    let models = runtime()?.block_on(ollama.models())?;
    let url = without_password(url);
    if models.is_empty() {
        let message = format!("Ollama at {url} has no models; get one with: ollama pull qwen2.5:7b");
        return Err(Error::new(Kind::Setup, message));
    }
    print(&format!("Models on the Ollama server at {url}:"), models.iter().collect());
    Ok(())
}

fn print(heading: &str, models: Vec<&Model>) {
    say(heading);
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    for model in models {
        let can: Vec<&str> = model.capabilities.iter().map(|capability| capability.as_str()).collect();
        say(format_args!("{:width$}  {:>10}  {}", model.name, readable_size(model.size), can.join(", ")));
    }
}

//! `simpleton model`: commands that manage models.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use serde_json::json;
use tokio::{signal::unix::SignalKind, time::timeout};

use super::{
    models::{self, Models, WithoutServer},
    progress::Progress,
    running_server::{RunningServer, path_of},
    serve::{LAST_WORK, listen, runtime, survive_full_files},
    tables,
    terminal::{say, say_json},
};
use crate::{
    config::Config,
    error::Result,
    files::readable_size,
    model_store::{Import, ModelStore},
    types::ModelName,
};

#[derive(Subcommand)]
pub(super) enum Action {
    /// List the available models and what they can do
    #[command(visible_alias = "ls")]
    List(Output),
    /// Show a model's details
    Show {
        /// Name of the model
        name: ModelName,
        #[command(flatten)]
        output: Output,
    },
    /// Download a model, or continue an interrupted download
    Pull {
        /// Name of the model: qwen2.5:7b, namespace/name, or hf.co/owner/repository:Q4_K_M
        name: ModelName,
    },
    /// Install a model from a GGUF file
    Import(ImportOptions),
    /// Copy a model to another name. The files are shared
    Cp {
        /// Name of the model
        source: ModelName,
        /// New name. A model with that name is replaced
        name: ModelName,
    },
    /// Remove a model, and its files that no other model uses
    #[command(visible_alias = "remove")]
    Rm {
        /// Name of the model, as printed by `simpleton model list`
        name: ModelName,
    },
    /// List the models that the running server has loaded
    Ps(Output),
    /// Have the running server load a model
    Load {
        /// Name of the model
        name: ModelName,
        /// Time to keep the model loaded when it is idle: seconds, a duration (5m), or -1 to keep it forever
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        keep_alive: Option<String>,
        /// Context size in tokens, for prompt and answer together
        #[arg(long, value_name = "TOKENS")]
        context: Option<u32>,
    },
    /// Have the running server unload a model, as soon as the requests that use it have finished
    Unload {
        /// Name of the model
        name: ModelName,
    },
}

#[derive(Args)]
pub(super) struct Output {
    /// Print JSON, as the HTTP API returns it
    #[arg(long)]
    json: bool,
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

pub(super) fn run(action: &Action, config: &Config) -> Result<ExitCode> {
    if let Action::Import(options) = action {
        import(options, config)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        survive_full_files()?;
        act(action, config).await
    });
    // A file system that does not respond must not delay the exit.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

async fn act(action: &Action, config: &Config) -> Result<ExitCode> {
    match action {
        Action::List(output) => list(&*models::open(config)?, output).await?,
        Action::Show { name, output } => {
            let model = models::open(config)?.show(name).await?;
            if output.json { say_json(&model) } else { tables::show(&model) }
        }
        Action::Pull { name } => return pull(&*models::open(config)?, name).await,
        Action::Cp { source, name } => {
            // On the disk, where a running server finds it: the API cannot copy.
            WithoutServer::open(config)?.copy(source, name).await?;
            say(format_args!("copied {source} to {name}"));
        }
        Action::Rm { name } => {
            models::open(config)?.remove(name).await?;
            say(format_args!("removed {name}"));
        }
        Action::Ps(output) => {
            let loaded = RunningServer::required(config)?.get("/models/loaded").await?;
            if output.json { say_json(&loaded) } else { tables::loaded(&loaded) }
        }
        Action::Load { name, keep_alive, context } => {
            let mut options = json!({});
            keep_alive.iter().for_each(|time| options["keep_alive"] = json!(time));
            context.iter().for_each(|tokens| options["context"] = json!(tokens));
            RunningServer::required(config)?.post(&path_of(name, "/load"), &options).await?;
            say(format_args!("loaded {name}"));
        }
        Action::Unload { name } => {
            RunningServer::required(config)?.post(&path_of(name, "/unload"), &json!({})).await?;
            say(format_args!("unloaded {name}"));
        }
        Action::Import(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(models: &dyn Models, output: &Output) -> Result<()> {
    let list = models.list().await?;
    if output.json {
        say_json(&list);
        return Ok(());
    }
    say(models.heading());
    tables::list(&list);
    Ok(())
}

/// Time after which the progress of a download that stalls is shown again.
const TICK: Duration = Duration::from_secs(1);

/// Downloads a model, and shows the progress. Ctrl-C ends it, with exit code 130.
pub(super) async fn pull(models: &dyn Models, name: &ModelName) -> Result<ExitCode> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let work = async {
        let (mut steps, mut bar, mut status) = (models.pull(name).await?, None::<Progress>, String::new());
        loop {
            let Ok(step) = timeout(TICK, steps.next()).await else {
                bar.iter_mut().for_each(Progress::tick);
                continue;
            };
            let Some(step) = step.transpose()? else { break };
            if step.status != status {
                bar.take().into_iter().for_each(Progress::keep);
                bar = step.file.as_ref().map(|_| Progress::new(step.status.clone()));
                if !bar.as_ref().is_some_and(Progress::is_on_terminal) {
                    say(&step.status);
                }
                status = step.status;
            }
            if let (Some(bar), Some(file)) = (&mut bar, step.file) {
                bar.resumed(file.resumed, file.total);
                bar.show(file.completed, file.total);
            }
        }
        Ok(ExitCode::SUCCESS)
    };
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => {
            eprintln!("Interrupted. `simpleton model pull {name}` continues the download.");
            Ok(ExitCode::from(130))
        }
    }
}

fn import(options: &ImportOptions, config: &Config) -> Result<()> {
    let ImportOptions { name, file, projector, force } = options;
    let model_store = ModelStore::configured(&config.model_store, &config.server.data_dir)?;
    let mut progress = Progress::new(format!("importing {name}"));
    let import = Import { name, gguf: file, projector: projector.as_deref(), replace: *force };
    let entry = model_store.import(import, |done, all| progress.show(done, all))?;
    drop(progress);
    say(format_args!("installed {} ({})", entry.name, readable_size(entry.model.size)));
    if config.ollama.ollama_base_url.is_some() {
        say("OLLAMA_BASE_URL is set, so the server uses Ollama's models. Unset it to use this one.");
    }
    Ok(())
}

//! `simpleton engine`: the program behind the embedded engine.

use std::{
    fs,
    process::{Command, Stdio},
};

use clap::Subcommand;

use super::{serve::runtime, terminal::say};
use crate::{
    config::Config,
    engine::locate,
    error::{Error, Kind, Result},
};

#[derive(Subcommand)]
pub(super) enum Action {
    /// Show which llama-server is used
    Status,
    /// Build llama-server from source into the data directory (6 to 15 minutes on 2 cores)
    Install,
}

/// Scripts that the installation runs, as they lie in `scripts/`: an installed binary has no source tree.
const SCRIPTS: [(&str, &str); 5] = [
    ("common.sh", include_str!("../../scripts/common.sh")),
    ("packages.sh", include_str!("../../scripts/packages.sh")),
    ("engine.sh", include_str!("../../scripts/engine.sh")),
    ("requirements/engine-source.txt", include_str!("../../scripts/requirements/engine-source.txt")),
    (
        "requirements/engine-source-tools.txt",
        include_str!("../../scripts/requirements/engine-source-tools.txt"),
    ),
];

pub(super) fn run(action: &Action, config: &Config) -> Result<()> {
    match action {
        Action::Status => status(config),
        Action::Install => install(config),
    }
}

fn status(config: &Config) -> Result<()> {
    let located = runtime()?.block_on(locate(&config.engine, &config.server.data_dir))?;
    say(format_args!("llama-server {}", located.version));
    say(format_args!("  {}", located.path.display()));
    Ok(())
}

fn install(config: &Config) -> Result<()> {
    let data_dir = &config.server.data_dir;
    let broken = |source: std::io::Error| {
        Error::new(Kind::Setup, "The installation could not be started.").with_source(source)
    };
    let folder = tempfile::tempdir().map_err(broken)?;
    let scripts = folder.path().join("scripts");
    fs::create_dir_all(scripts.join("requirements")).map_err(broken)?;
    for (name, text) in SCRIPTS {
        fs::write(scripts.join(name), text).map_err(broken)?;
    }
    for (script, argument) in [("packages.sh", Some("engine")), ("engine.sh", None)] {
        let status = Command::new("bash")
            .arg(scripts.join(script))
            .args(argument)
            .env("DATA_DIR", data_dir)
            .env("ENGINE_GPU", config.engine.engine_gpu)
            .stdin(Stdio::null())
            .status()
            .map_err(broken)?;
        if !status.success() {
            return Err(Error::new(Kind::Setup, "The engine could not be installed; see the output above."));
        }
    }
    say(format_args!("The engine is installed in {}.", data_dir.join("engine").display()));
    Ok(())
}

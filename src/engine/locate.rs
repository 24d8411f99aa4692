//! Search for llama-server.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::Settings;
use crate::error::{Error, Kind, Result};

const PROGRAM: &str = "llama-server";
/// Timeout for `--version`, which prints two lines; a program that takes longer is not llama-server.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// A llama-server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub path: PathBuf,
    /// Version that it reports: `0.5.0-dev (build 1, commit 0c1e570)`.
    pub version: String,
}

/// Finds llama-server and asks its version: `LLAMA_SERVER`, then the data folder, then `PATH`.
///
/// # Errors
/// `Setup`, saying what to do, when there is none or it does not run.
pub async fn locate(settings: &Settings, data_dir: &Path) -> Result<Located> {
    let path = find(settings, data_dir)?;
    let version = version(&path).await?;
    Ok(Located { path, version })
}

/// The first one that exists. A path from the settings is never replaced by another.
pub(super) fn find(settings: &Settings, data_dir: &Path) -> Result<PathBuf> {
    if let Some(named) = &settings.llama_server {
        return if named.is_file() {
            Ok(named.clone())
        } else {
            Err(Error::new(
                Kind::Setup,
                "LLAMA_SERVER is not the path of a file: set it to the llama-server program, or unset it and run `simpleton engine install`.",
            ))
        };
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    std::iter::once(data_dir.join("engine"))
        .chain(env::split_paths(&folders))
        .map(|folder| folder.join(PROGRAM))
        .find(|path| path.is_file())
        .ok_or_else(missing)
}

fn missing() -> Error {
    Error::new(
        Kind::Setup,
        "The embedded engine (llama-server) is not installed: run `simpleton engine install` or `make run`, or set LLAMA_SERVER to a llama-server program.",
    )
}

async fn version(path: &Path) -> Result<String> {
    let broken = || {
        Error::new(
            Kind::Setup,
            "The llama-server program does not run: reinstall it with `simpleton engine install`, and unset or correct LLAMA_SERVER.",
        )
    };
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    super::child::scrub_environment(&mut command);
    let output = timeout(VERSION_TIMEOUT, command.output())
        .await
        .map_err(|_| broken().with_source(format!("no response within {} s", VERSION_TIMEOUT.as_secs())))?
        .map_err(|source| broken().with_source(source))?;
    // It has printed its version to standard error and to standard output, depending on the release.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.strip_prefix("version: "))
        .map(|version| version.trim().to_owned())
        .ok_or_else(broken)
}

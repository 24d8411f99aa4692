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
/// Folder of a packaged llama-server, beside the `bin` folder of the simpleton program.
const PACKAGED: &str = "lib/simpleton";
/// Timeout for options that print a few lines; a program that takes longer is not llama-server.
const PRINT_TIMEOUT: Duration = Duration::from_secs(20);

/// A llama-server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub path: PathBuf,
    /// Version that it reports: `0.5.0-dev (build 1, commit 0c1e570)`.
    pub version: String,
}

impl Located {
    /// Lists the GPUs that it can use, in its own words: `Vulkan0: NVIDIA RTX A2000 (12282 MiB, 11900 MiB free)`.
    ///
    /// # Errors
    /// `Setup` when it does not run.
    pub async fn gpus(&self) -> Result<Vec<String>> {
        Ok(devices(&printed(&self.path, "--list-devices").await?))
    }
}

/// Finds llama-server and asks its version: `LLAMA_SERVER`, then the data folder, then the folder of a package, then
/// `PATH`.
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
        .chain(env::current_exe().ok().as_deref().and_then(packaged))
        .chain(env::split_paths(&folders))
        .map(|folder| folder.join(PROGRAM))
        .find(|path| path.is_file())
        .ok_or_else(missing)
}

fn packaged(program: &Path) -> Option<PathBuf> {
    Some(program.parent()?.parent()?.join(PACKAGED))
}

fn missing() -> Error {
    Error::new(
        Kind::Setup,
        "The embedded engine (llama-server) is not installed: run `simpleton engine install` or `make run`, or set LLAMA_SERVER to a llama-server program.",
    )
}

async fn version(path: &Path) -> Result<String> {
    let text = printed(path, "--version").await?;
    text.lines()
        .find_map(|line| line.strip_prefix("version: "))
        .map(|version| version.trim().to_owned())
        .ok_or_else(broken)
}

fn broken() -> Error {
    Error::new(
        Kind::Setup,
        "The llama-server program does not run: reinstall it with `simpleton engine install`, and unset or correct LLAMA_SERVER.",
    )
}

/// Output of llama-server with an option that only prints, of both streams: it depends on the release which one is used.
async fn printed(path: &Path, option: &str) -> Result<String> {
    let mut command = Command::new(path);
    command.arg(option).stdin(Stdio::null()).kill_on_drop(true);
    super::child::scrub_environment(&mut command);
    let output = timeout(PRINT_TIMEOUT, command.output())
        .await
        .map_err(|_| broken().with_source(format!("no response within {} s", PRINT_TIMEOUT.as_secs())))?
        .map_err(|source| broken().with_source(source))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The indented lines after "Available devices:"; "(none)" stands for none.
fn devices(text: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| !line.starts_with("Available devices:"))
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .map(|device| device.trim().to_owned())
        .filter(|device| device != "(none)")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packaged_engine_is_found_beside_the_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let (bin, lib) = (folder.path().join("bin"), folder.path().join("lib/simpleton"));
        std::fs::create_dir_all(&bin).expect("bin");
        std::fs::create_dir_all(&lib).expect("lib");
        std::fs::write(lib.join(PROGRAM), "").expect("an engine");
        assert!(packaged(&bin.join("simpleton")).expect("a folder").join(PROGRAM).is_file());
    }

    #[test]
    fn devices_are_those_that_llama_server_lists() {
        let none = "Available devices:\n  (none)\n";
        assert_eq!(devices(none), Vec::<String>::new());
        let two = "ggml_vulkan: Found 2 Vulkan devices:\nAvailable devices:\n  Vulkan0: NVIDIA RTX A2000 (12282 MiB, 11900 MiB free)\n  Vulkan1: llvmpipe (24105 MiB, 24105 MiB free)\nggml_vulkan: done\n";
        assert_eq!(
            devices(two),
            [
                "Vulkan0: NVIDIA RTX A2000 (12282 MiB, 11900 MiB free)",
                "Vulkan1: llvmpipe (24105 MiB, 24105 MiB free)"
            ]
        );
        assert_eq!(devices("error: invalid argument: --list-devices\n"), Vec::<String>::new());
    }
}

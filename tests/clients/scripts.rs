//! Runs a client's script with a server of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    eventually::eventually,
    real_server::{KEY, RealServer},
};

/// Runs a script, whose only settings are the addresses and the key of the server.
///
/// # Panics
/// When the script fails, or leaves a model at work.
pub(crate) async fn run(script: &str) {
    run_with(script, &[]).await;
}

/// The same with settings of the server.
pub(crate) async fn run_with(script: &str, settings: &[(&str, &str)]) {
    let server = RealServer::start(settings).await;
    let home = tempfile::tempdir().unwrap();
    let path = Path::new("tests/clients").join(script);
    let mut command = Command::new(interpreter(path.parent().unwrap()));
    command.arg(path).env_clear().env("PATH", env::var_os("PATH").unwrap()).env("HOME", home.path());
    let address = format!("http://{}", server.address);
    command.env("OPENAI_BASE_URL", format!("{address}/v1")).env("OPENAI_API_KEY", KEY);
    command.env("ANTHROPIC_BASE_URL", &address).env("ANTHROPIC_API_KEY", KEY);
    command.env("OLLAMA_HOST", &address).env("OLLAMA_API_KEY", KEY);
    // Where the README's example reads it.
    let data_dir = home.path().join(".local/share/simpleton");
    fs::create_dir_all(&data_dir).unwrap();
    fs::write(data_dir.join("api-key"), KEY).unwrap();
    // LiteLLM's name for OLLAMA_HOST.
    command.env("OLLAMA_API_BASE", &address);
    // LiteLLM would try for seconds to download a newer list of prices.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "true");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{printed}", output.status);
    // A stream that the script left would go on for minutes.
    eventually(Duration::from_secs(30), "every model is at rest", async || {
        server.metric("simpleton_llm_requests_running").await == 0.0
    })
    .await;
}

/// Program that runs the scripts of a folder, with the packages of the folder's lock file.
fn interpreter(folder: &Path) -> PathBuf {
    if folder.ends_with("node") {
        return "node".into();
    }
    let mut command = std::process::Command::new("scripts/clients.sh");
    let output = command.arg("--folder").arg(folder.file_name().unwrap()).output().unwrap();
    let packages = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert!(
        packages.join("complete").is_file(),
        "run `make test` or scripts/clients.sh, which installs the clients"
    );
    packages.join("bin/python")
}

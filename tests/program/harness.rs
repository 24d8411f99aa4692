//! Runs the program in a folder of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::llama_server::llama_server;

/// The program with an environment of its own.
pub fn simpleton(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simpleton"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.env("HOME", folder.path()).env("PATH", std::env::var_os("PATH").unwrap());
    command
}

pub fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The same, started by a shell that sets a limit or a mask first.
pub fn after(preparation: &str, folder: &TempDir) -> Command {
    let program = simpleton(folder);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{preparation}; exec \"$0\" \"$@\"")]).arg(program.get_program());
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// A running server; killed when dropped.
pub struct Running {
    pub child: Child,
    pub url: String,
    pub key: String,
    pub folder: TempDir,
}

impl Running {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = simpleton(&folder);
        command.arg("serve");
        Self::of(command, folder)
    }

    pub fn of(mut command: Command, folder: TempDir) -> Self {
        command
            .env("PORT", "0")
            .env("DATA_DIR", folder.path().join("data"))
            .env("LLAMA_SERVER", llama_server());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut after = |mark: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(mark)).unwrap();
            line.split(mark).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
        };
        let url = after("is ready on ");
        // A key is printed to a terminal only.
        let key = fs::read_to_string(folder.path().join("data/api-key")).unwrap().trim().to_owned();
        Self { child, url, key, folder }
    }

    pub fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::POST, path).body(body.to_string())
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        // An error only says that it is there already: each test has a thread, all one process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.request(method, format!("{}{path}", self.url)).header("x-api-key", &self.key)
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The processes that have this server's data folder in their command line, besides itself.
    pub fn children(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(folder) {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
        found
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    crate::eventually::eventually(Duration::from_secs(20), what, async || check()).await;
}

pub async fn answer(request: reqwest::RequestBuilder) -> Value {
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

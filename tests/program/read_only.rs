//! A models folder of Ollama's that can only be read.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::SystemTime};

use serde_json::{Value, json};

use crate::{
    harness::{Running, answer, simpleton},
    manifest::{demo, layer, manifest},
};

/// Paths of everything in a folder, with its time and size.
fn inventory(folder: &Path) -> Vec<(String, SystemTime, u64)> {
    let metadata = fs::metadata(folder).unwrap();
    let mut all = vec![(folder.display().to_string(), metadata.modified().unwrap(), metadata.len())];
    if metadata.is_dir() {
        all.extend(fs::read_dir(folder).unwrap().flat_map(|entry| inventory(&entry.unwrap().path())));
    }
    all.sort();
    all
}

fn set_modes(folder: &Path, mode: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, mode);
        }
    }
}

/// The same command, which for the superuser, too, obeys the modes of files.
fn without_privileges(command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set", "-dac_override,-dac_read_search"]).arg(command.get_program());
    limited.args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

#[tokio::test]
async fn a_folder_of_ollamas_is_served_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("ollama");
    let gguf = layer(&models, "model", &demo());
    manifest(&models, "tiny", &[gguf.clone(), layer(&models, "template", b"{{ .Prompt }}")]);
    manifest(&models, "Tiny-Too", &[gguf]);
    set_modes(&models, 0o555);
    let before = inventory(&models);

    let mut command = simpleton(&folder);
    command.arg("serve").env("MODELS_DIR", &models);
    let server = Running::of(without_privileges(command), folder);
    let (status, list) = ask(&server, reqwest::Method::GET, "/models").await;
    let names: Vec<&str> =
        list["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!((status, names), (200, vec!["Tiny-Too", "simpleton-demo", "tiny"]));
    let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
    for name in ["TINY", "tiny:Latest", "library/tiny", "tiny-too"] {
        let body = json!({"model": name, "messages": question, "temperature": 0});
        let request = server.post("/inference/chat", &body).header("content-type", "application/json");
        let reply = answer(request).await;
        assert!(reply["message"]["content"].as_str().unwrap().contains("Paris"), "{name}: {reply}");
    }
    let (status, refused) = ask(&server, reqwest::Method::DELETE, "/models/tiny").await;
    assert_eq!(status, 503);
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("The models directory cannot be written to; check its permissions"),
        "{detail}"
    );
    // It is in memory as before, since it is still there.
    let (_, loaded) = ask(&server, reqwest::Method::GET, "/models/loaded").await;
    assert_eq!(loaded["models"].as_array().unwrap().len(), 1);
    assert_eq!(inventory(&models), before);
    set_modes(&models, 0o755);
}

async fn ask(server: &Running, method: reqwest::Method, path: &str) -> (u16, Value) {
    let request = server.request(method, path);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

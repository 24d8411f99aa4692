//! Commands that manage models, with a running server and without one.

use std::{fs, process::Command};

use serde_json::Value;

use crate::harness::{Running, run, simpleton};

fn model(server: &Running) -> impl Fn(&[&str]) -> (bool, String, String) {
    |arguments| run(command(server).arg("model").args(arguments))
}

/// A command that finds the server by its data directory, whatever its port.
fn command(server: &Running) -> Command {
    let mut command = simpleton(&server.folder);
    command.env("DATA_DIR", server.folder.path().join("data"));
    command
}

#[test]
fn a_running_server_manages_its_models() {
    let server = Running::start();
    let model = model(&server);
    let (ok, said, told) = model(&["ps"]);
    assert!(ok && said == "No models are loaded.\n", "{said}{told}");
    let (ok, said, told) = model(&["load", "simpleton-demo", "--context", "512", "--keep-alive", "-1"]);
    assert!(ok && said == "loaded simpleton-demo\n", "{said}{told}");
    let (_, said, _) = model(&["ps"]);
    let row = said.lines().nth(1).unwrap();
    assert!(
        said.starts_with("NAME ") && row.starts_with("simpleton-demo ") && row.contains(" 512 "),
        "{said}"
    );
    let loaded: Value = serde_json::from_str(&model(&["ps", "--json"]).1).unwrap();
    assert_eq!(loaded["models"][0]["name"], "simpleton-demo");
    let (_, said, _) = model(&["list"]);
    assert!(
        said.starts_with(&format!("Models of the server on {}:\nsimpleton-demo ", &server.url[7..])),
        "{said}"
    );
    assert!(model(&["show", "simpleton-demo"]).1.contains("loaded        yes"));
    assert!(model(&["unload", "Simpleton-Demo"]).0);
    assert_eq!(model(&["ps"]).1, "No models are loaded.\n");

    let (ok, said, told) = model(&["cp", "simpleton-demo", "me/copy:v1"]);
    assert!(ok && said == "copied simpleton-demo to me/copy:v1\n", "{said}{told}");
    let shown: Value = serde_json::from_str(&model(&["show", "me/copy:v1", "--json"]).1).unwrap();
    assert_eq!(shown["name"], "me/copy:v1");
    assert!(model(&["rm", "me/copy:v1"]).0);
    let (ok, _, told) = model(&["rm", "me/copy:v1"]);
    assert!(!ok && told.contains("me/copy:v1 is not installed"), "{told}");
    let (ok, _, told) = run(command(&server).args(["model", "list"]).env("API_KEYS", "another-key"));
    assert!(!ok && told.starts_with("The server does not accept this API key; set API_KEYS"), "{told}");
}

#[test]
fn without_a_server_the_disk_is_managed() {
    let folder = tempfile::tempdir().unwrap();
    let model = |arguments: &[&str]| run(simpleton(&folder).arg("model").args(arguments));
    for command in [&["ps"][..], &["load", "simpleton-demo"], &["unload", "simpleton-demo"]] {
        let (ok, _, told) = model(command);
        assert!(!ok && told == "No server is running; start it with `simpleton serve`.\n", "{told}");
    }
    let listed: Value = serde_json::from_str(&model(&["ls", "--json"]).1).unwrap();
    assert_eq!(listed["models"][0]["name"], "simpleton-demo");
    let (ok, shown, told) = model(&["show", "simpleton-demo"]);
    assert!(ok, "{told}");
    for part in [
        "name          simpleton-demo\n",
        "family ",
        "quantization ",
        "completion, vision",
        "memory ",
        "loaded        no",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(model(&["cp", "simpleton-demo", "copy"]).0);
    assert!(model(&["list"]).1.contains("\ncopy "));
    assert!(model(&["remove", "copy"]).0);
    let (ok, _, told) = model(&["show", "copy"]);
    assert!(!ok && told.contains("The model copy is not installed"), "{told}");
}

/// A file that its owner did not write may hold escape sequences.
#[test]
fn what_a_model_says_about_itself_does_not_control_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run(simpleton(&folder).arg("model").args(arguments));
    assert!(run(&["ls"]).0);
    let models = folder.path().join(".local/share/simpleton/models");
    let path = models.join("manifests/registry.ollama.ai/library/simpleton-demo/latest");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let text = "\u{1b}]0;owned\u{7}\nBe brief.";
    let digest = digest(text.as_bytes());
    fs::write(models.join("blobs").join(digest.replace(':', "-")), text).unwrap();
    let layer = serde_json::json!({ "mediaType": "application/vnd.ollama.image.system", "digest": digest, "size": text.len() });
    manifest["layers"].as_array_mut().unwrap().push(layer);
    let other = path.parent().unwrap().with_file_name("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("latest"), manifest.to_string()).unwrap();
    let (ok, shown, told) = run(&["show", "other"]);
    assert!(ok && shown.contains("System\n  \\u{1b}]0;owned\\u{7}\n  Be brief.\n"), "{shown}{told}");
    let (_, json, _) = run(&["show", "other", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["system"], text);
}

fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
